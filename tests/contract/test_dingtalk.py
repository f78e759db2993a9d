"""The contract kit over the DingTalk sandbox, once as a Stream app and once as an HTTP app."""

from __future__ import annotations

from connectors.dingtalk import DingTalkConnector
from hub.sdk.kit import connector_kit
from tests.contract.dingtalk_stand import DingTalkHttpStand, DingTalkStand

TestDingTalkByStream = connector_kit(DingTalkConnector, DingTalkStand)


class TestDingTalkByHttp(connector_kit(DingTalkConnector, DingTalkHttpStand)):
    """Answers are read before a mode matters: one code of each class stands for the table that ran above."""

    @classmethod
    def cases(cls) -> dict[str, list[str]]:
        few = ["90018", "InvalidAuthentication", "systemError", "formConverterError", "90020", "-1"]
        return super().cases() | {"code": few}
