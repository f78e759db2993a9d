"""A storm of approvals at WeCom 企业微信: its sandbox, its people, its forms (fact sheet 4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.acts import ActOnForm, PutTemplate, Submit
from connectors.wecom.sandbox.approving import turns
from connectors.wecom.sandbox.dials import WeComDials
from connectors.wecom.sandbox.rows import Form as Row
from connectors.wecom.sandbox.templates import CONTRACT, LABEL, control
from tests.storm.approval_vendor import NUMBER, PLANS, CountingDials, Form, Sky, Vendor
from tests.storm.site import SECRETS, StormClock

__all__ = ["WeCom"]

STATES = {1: "in_progress", 2: "approved", 3: "rejected", 4: "withdrawn", 6: "revoked", 10: "approved"}
DELETED = 7


class StormDials(CountingDials, WeComDials):
    """WeCom's dials that count."""


class WeCom(Vendor):
    """WeCom; what is deleted stays in its lists. ``before``: sp_no -> its status when it was deleted."""

    name = "wecom"
    create = "oa/applyevent"
    verb = "applyevent"
    template = CONTRACT
    applicants: ClassVar[Mapping[str, str]] = {
        "zhang.san": "zhangsan",
        "li.si": "lisi",
        "wang.wu": "wangwu",
        "zhao.liu": "ZhaoLiu",
    }
    secrets = SECRETS
    connection = """\
      base_url: {base_url}
      corp_id: {corpid}
      agent_id: {agentid}
      secret: ${{secret:wecom-secret}}
      token: ${{secret:wecom-token}}
      encoding_aes_key: ${{secret:wecom-aes-key}}
      template_ids: {template}
      approval_calls: 1000000"""
    plans = (
        *PLANS,
        (1, ("agree", "pay")),
        (1, ("urge", "transfer", "reject")),
        (1, ("one", "return", "one", "agree")),
    )
    sandbox: WeComSandbox

    def _made(self, clock: StormClock, seed: int) -> WeComSandbox:
        self.before: dict[str, int] = {}
        dials = StormDials(
            seed=seed, callback_auto=False, per_minute=0, per_hour=0, per_ip_minute=0, per_ip_hour=0, approval_per_minute=0,
            in_flight=0,
        )  # fmt: skip
        sandbox = WeComSandbox(clock=clock, dials=dials)
        controls = [*sandbox.corp.templates[CONTRACT].controls, control("Text", 901, NUMBER)]
        sandbox.act(PutTemplate(template_id=CONTRACT, controls=controls, silent=True))
        return sandbox

    def _events(self, sky: Sky) -> None:
        dials = self.sandbox.dials
        dials.callback_lose, dials.callback_duplicate, dials.callback_reorder = (
            sky.lose, sky.double, sky.overtake,
        )  # fmt: skip

    def deliver_at_once(self) -> None:
        self.sandbox.dials.callback_auto = True

    async def flush(self) -> None:
        await self.sandbox.callbacks.flush()

    def counts(self) -> Mapping[str, int]:
        return self.sandbox.callbacks.shown()

    def ids(self) -> Iterable[str]:
        return self.sandbox.corp.forms

    def forms(self) -> Sequence[Form]:
        return [self._form(row) for row in self.sandbox.corp.forms.values()]

    def _form(self, row: Row) -> Form:
        deleted = row.sp_status == DELETED
        acted = [str(sub["sptime"]) for node in row.nodes for sub in node["subs"] if sub["sp_yj"] != 1]
        state = STATES[self.before[row.sp_no] if deleted else row.sp_status]
        return Form(row.sp_no, _text(row, LABEL), _text(row, NUMBER), state, len(acted), deleted)

    def turns(self, id_: str) -> Sequence[str]:
        return turns(self.sandbox.corp.forms[id_])

    def start(self, userid: str, values: Mapping[str, str]) -> str:
        (told,) = self.sandbox.act(Submit(template_id=CONTRACT, userid=userid, values=dict(values)))
        return str(told["sp_no"])

    def do(self, id_: str, act: str, *, userid: str = "", to: str = "", said: str = "") -> None:
        if act == "delete":
            self.before[id_] = self.sandbox.corp.forms[id_].sp_status
        given = {"act": act, "sp_no": id_, "userid": userid, "to": to, "speech": said}
        self.sandbox.act(ActOnForm.model_validate(given))


def _text(row: Row, title: str) -> str:
    """Return the text in the control of this title, "" for none."""
    for one in row.contents:
        if any(said["text"] == title for said in one.get("title") or ()):
            return str(one["value"].get("text") or "")
    return ""
