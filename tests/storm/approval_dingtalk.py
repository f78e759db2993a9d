"""A storm of approvals at DingTalk 钉钉: its sandbox, its people, its forms (fact sheet 2); events by HTTP push.

A form that was deleted is shown by no call any more, and no event says what stood in it: if the answer to its create was
lost and nothing was read meanwhile, nobody can know that it was there, and it is started again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import httpx
import orjson
from starlette.responses import Response

from connectors.dingtalk.sandbox import DingTalkSandbox
from connectors.dingtalk.sandbox.acts import (
    Comment,
    Decide,
    Delete,
    PutTemplate,
    Revoke,
    Start,
    Transfer,
    Withdraw,
)
from connectors.dingtalk.sandbox.dials import DingTalkDials
from connectors.dingtalk.sandbox.rows import Instance
from connectors.dingtalk.sandbox.seed import CONTRACT, CORRELATION
from tests.storm.approval_vendor import AMOUNT, NUMBER, PLANS, CountingDials, Form, Sky, Vendor
from tests.storm.site import StormClock

__all__ = ["DingTalk"]

ACTED = ("EXECUTE_TASK_NORMAL", "REDIRECT_TASK", "TERMINATE_PROCESS_INSTANCE")
ALIASES = {AMOUNT: "amount", NUMBER: "contract_no"}
"""What the mapping calls the fields of the form: bizAlias, which users cannot change."""
FLOW = [
    {"activityId": "manager", "name": "区域经理", "kind": "approval", "method": "OR", "users": ["manager", "deputy"]},
    {"activityId": "head", "name": "总部", "kind": "approval", "method": "AND", "users": ["head", "finance"]},
]  # fmt: skip


class StormDials(CountingDials, DingTalkDials):
    """DingTalk's dials that count."""

    def happens(self, dial: str) -> bool:
        happened = super().happens(dial)
        self.met[dial] += happened
        return happened


class StormSandbox(DingTalkSandbox):
    """A sandbox that knows which instances its answers have shown. ``told``: their ids."""

    def __init__(self, **given: Any) -> None:
        self.told: set[str] = set()
        super().__init__(**given)

    async def exchange(self, op: str, form: str, apply: Callable[[], Response]) -> Response:
        answer = await super().exchange(op, form, apply)  # raises where none goes out
        if op in ("create", "get") and answer.status_code == 200:
            said = orjson.loads(answer.body)
            self.told |= {str(task["processInstanceId"]) for task in said.get("result", {}).get("tasks", ())}
            self.told |= {said["instanceId"]} if op == "create" else set()
        return answer


class DingTalk(Vendor):
    """DingTalk."""

    name = "dingtalk"
    create = "create"
    verb = "create"
    template = CONTRACT
    applicants: ClassVar[Mapping[str, str]] = {
        "zhang.san": "seller",
        "li.si": "head",
        "wang.wu": "manager",
        "zhao.liu": "deputy",
    }
    secrets: ClassVar[Mapping[str, str]] = {
        "dingtalk-secret": "app_secret",
        "dingtalk-token": "token",
        "dingtalk-aes-key": "aes_key",
    }
    connection = """\
      base_url: {base_url}
      old_url: {base_url}
      corp_id: {corp_id}
      app_key: {app_key}
      app_secret: ${{secret:dingtalk-secret}}
      agent_id: {agent_id}
      process_codes: {template}
      receive: callback
      token: ${{secret:dingtalk-token}}
      aes_key: ${{secret:dingtalk-aes-key}}
      monthly_calls: 1000000000
      monthly_pushes: 1000000000
      qps: 1000"""
    plans = (
        *PLANS,
        (2, ("agree", "modify")),
        (1, ("agree", "ask_to_revoke")),
        (1, ("transfer", "one", "transfer", "agree")),
    )
    sandbox: StormSandbox

    def _made(self, clock: StormClock, seed: int) -> StormSandbox:
        dials = StormDials(
            seed=seed, push_auto=False, qps=0, monthly_calls=0, monthly_pushes=0, push_timeout=30.0
        )
        sandbox = StormSandbox(clock=clock, dials=dials)
        sandbox.mode = "off"  # until the callback address is saved
        sandbox.pushes.transport = httpx.AsyncHTTPTransport(
            verify=False
        )  # making a client's trust takes longer
        number = {
            "componentName": "TextField",
            "props": {"id": "TextField-NUMBER01", "label": NUMBER, "required": False},
        }
        items = [*sandbox.company.templates[CONTRACT].items, number]
        sandbox.act(
            PutTemplate(act="put_template", process_code=CONTRACT, items=[*map(_aliased, items)], nodes=FLOW)
        )
        return sandbox

    def _events(self, sky: Sky) -> None:
        dials = self.sandbox.dials
        dials.push_lose, dials.push_duplicate, dials.push_reorder = sky.lose, sky.double, sky.overtake

    def deliver_at_once(self) -> None:
        self.sandbox.dials.push_auto = True

    async def flush(self) -> None:
        await self.sandbox.pushes.flush()

    def counts(self) -> Mapping[str, int]:
        counted, met = self.sandbox.event_counts(), self._dials.met
        told = {
            name: counted[f"http_{name}"] for name in ("sent", "acknowledged") if f"http_{name}" in counted
        }
        words = {"lost": "push_lose", "duplicated": "push_duplicate", "reordered": "push_reorder"}
        return {"events": counted["events"], **{word: met[dial] for word, dial in words.items()}, **told}

    @property
    def _dials(self) -> StormDials:
        return cast(StormDials, self.sandbox.dials)

    def ids(self) -> Iterable[str]:
        return [id_ for id_, one in self.sandbox.company.instances.items() if one.biz_action == "NONE"]

    def forms(self) -> Sequence[Form]:
        """Return them from the ledger, which keeps what was deleted."""
        last: dict[str, Mapping[str, Any]] = {}
        gone: set[str] = set()
        revoked: set[str] = set()
        for effect in self.sandbox.ledger().effects(form="approval"):
            if effect.after is None:
                gone.add(str(effect.id))
            elif effect.after["biz_action"] == "NONE":
                last[str(effect.id)] = effect.after
            elif (effect.after["biz_action"], effect.after["result"]) == ("REVOKE", "agree"):
                revoked.add(str(effect.after["main"]))
        unseen = gone - self.sandbox.told
        return [
            _form(row, revoked=id_ in revoked, deleted=id_ in gone, unseen=id_ in unseen)
            for id_, row in last.items()
        ]

    def turns(self, id_: str) -> Sequence[str]:
        return [task.userid for task in self._row(id_).tasks if task.status == "RUNNING"]

    def start(self, userid: str, values: Mapping[str, str]) -> str:
        (told,) = self.sandbox.act(
            Start(act="start", process_code=CONTRACT, userid=userid, values=dict(values))
        )
        return str(told["id"])

    def do(self, id_: str, act: str, *, userid: str = "", to: str = "", said: str = "") -> None:
        made: Any
        match act:
            case "agree" | "reject":
                result: Literal["agree", "refuse"] = "agree" if act == "agree" else "refuse"
                made = Decide(act=result, id=id_, userid=userid, remark=said)
            case "transfer":
                made = Transfer(act="transfer", id=id_, userid=userid, to=to, remark=said)
            case "comment":
                made = Comment(
                    act="comment", id=id_, userid=self._row(id_).originator, text=said or "请尽快处理"
                )
            case "withdraw":
                made = Withdraw(act="withdraw", id=id_, remark=said)
            case "revoke" | "modify":
                made = Revoke(act=act, id=id_)
            case "ask_to_revoke":
                made = Revoke(act="revoke", id=id_, agreed=False)
            case "delete":
                made = Delete(act="delete", id=id_)
            case _:
                raise ValueError(f"nobody can {act}")
        self.sandbox.act(made)

    def _row(self, id_: str) -> Instance:
        return self.sandbox.company.instances[id_]


def _aliased(item: Mapping[str, Any]) -> dict[str, Any]:
    alias = ALIASES.get(item["props"]["label"])
    return {**item, "props": {**item["props"], "bizAlias": alias}} if alias else dict(item)


def _form(row: Mapping[str, Any], *, revoked: bool, deleted: bool, unseen: bool) -> Form:
    values = {str(one["name"]): str(one["value"] or "") for one in row["values"]}
    if row["status"] == "COMPLETED":
        state = "revoked" if revoked else {"agree": "approved", "refuse": "rejected"}[row["result"]]
    else:
        state = {"RUNNING": "in_progress", "TERMINATED": "withdrawn"}[row["status"]]
    acted = sum(record["type"] in ACTED for record in row["records"])
    number, contract = values.get(CORRELATION, ""), values.get(NUMBER, "")
    return Form(row["id"], number, contract, state, acted, deleted, unseen)
