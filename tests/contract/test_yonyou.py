"""The Yonyou connector over its sandbox: the kit's tests, for both generations of receipts."""

from __future__ import annotations

from connectors.yonyou import YonyouConnector
from hub.sdk.kit import connector_kit
from tests.contract.yonyou_stand import OlderStand, YonyouStand

TestYonyou = connector_kit(YonyouConnector, YonyouStand)
TestYonyouOlder = connector_kit(YonyouConnector, OlderStand)
