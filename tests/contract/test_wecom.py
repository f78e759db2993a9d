"""The contract kit over the WeCom sandbox; what the vendor does not allow stands in the connector's spec."""

from __future__ import annotations

from connectors.wecom import WeComConnector
from hub.sdk.kit import connector_kit
from tests.contract.wecom_approval_stand import WeComApprovalStand

TestWeCom = connector_kit(WeComConnector, WeComApprovalStand)
