"""The WeCom sandbox as the contract kit drives it: relations and employees of one department, the app sees no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import httpx
import orjson
import pytest

from connectors.wecom import WeComConnector
from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.acts import AddContact, DeleteMember, EditFollow, PutDepartment, PutMember
from connectors.wecom.sandbox.server import AGENTID
from hub.sdk import Answer, Json, Secret, VendorRef, Write
from hub.sdk.kit import Bench, Fault, Stand

HOME = 100
SELLER = "Seller.One"
OPERATIONS = {
    ("read", "follow"): "externalcontact/batch/get_by_user",
    ("read", "user"): "user/get",
    ("remark", "follow"): "externalcontact/remark",
    ("tag", "follow"): "externalcontact/mark_tag",
}
FAULTS = {
    Fault.BROKEN: "fail_before", Fault.DROPPED: "apply_then_drop", Fault.CUT: "cut_body", Fault.GARBLED: "apply_then_502",
    Fault.LATE: "apply_late", Fault.RATE: "errcode_45009", Fault.EXPIRED: "errcode_40014", Fault.HTML: "html_200",
}  # fmt: skip
VERBS = {"remark": "remark", "mark_tag": "tag"}
SECRETS = ("secret", "token", "encoding_aes_key")


def answer(**body: Any) -> Answer:
    return Answer(200, httpx.Headers(), orjson.dumps({"errcode": 0, "errmsg": "ok", **body}))


TOKEN = answer(access_token="token-of-the-test", expires_in=7200)


class WeComStand(Stand):
    plans: ClassVar = {"follow": ("remark", "tag")}
    greeting: ClassVar = (TOKEN,)

    def make(self) -> WeComSandbox:
        sandbox = WeComSandbox()
        sandbox.act(PutDepartment(id=HOME, name="试点部", parentid=1, silent=True))
        sandbox.act(
            PutMember(userid=SELLER, name="销售", department=[HOME], main_department=HOME, silent=True)
        )
        sandbox.gate.apps[AGENTID].visible_departments = [HOME]
        return sandbox

    def settings(self) -> dict[str, Any]:
        given = dict(self.sandbox.credentials(self.base_url))
        named = {
            "base_url": given["base_url"], "corp_id": given["corpid"], "agent_id": int(given["agentid"]),
            **{name: Secret(given[name]) for name in SECRETS},
        }  # fmt: skip
        return named | {"page_size": self.page_size}

    def wrong_key(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "secret": Secret("0" * 43)}

    async def prepare(self, name: str) -> None:
        if name == "user":  # the kit seeds its own employees, and counts them
            self.sandbox.act(DeleteMember(userid=SELLER, silent=True))

    async def seed(self, stream: str, count: int) -> list[str]:
        ids = []
        for _ in range(count):
            if stream == "user":
                number = len(self.sandbox.corp.members)
                self.sandbox.act(
                    PutMember(
                        userid=f"User{number:03}",
                        name=f"员工{number}",
                        department=[HOME],
                        main_department=HOME,
                        silent=True,
                    )
                )
                ids.append(f"user{number:03}")
            else:
                (made,) = self.sandbox.act(AddContact(userid=SELLER, name=f"客户{len(ids)}", silent=True))
                external = str(made["external_userid"])
                ids.append(external if stream == "contact" else f"{SELLER.lower()}/{external}")
            self.sandbox.advance(1)
        return ids

    async def edit(self, stream: str, vendor_id: str) -> None:
        if stream == "user":
            self.sandbox.act(PutMember(userid=vendor_id, position="总监", silent=True))
            return
        userid, _, external = vendor_id.rpartition("/")
        self.sandbox.act(
            EditFollow(userid=userid or SELLER, external_userid=external, remark="改过", silent=True)
        )

    def payload(self, object_name: str, number: int) -> dict[str, Json]:
        return {
            "remark": f"王总{number}", "description": "展会认识", "remark_mobiles": ["13800138000"], "tags": ["重要客户", f"新标签{number}"],
        }  # fmt: skip

    def bad(self, object_name: str) -> dict[str, Json]:
        return {"remark": "字" * 21}

    def change(self, object_name: str) -> dict[str, Json]:
        return {"remark": "另一个备注"}

    def inject(self, fault: Fault, operation: str, name: str) -> None:
        self.sandbox.dials.late_by = self.late
        op = OPERATIONS[operation, name]
        if name == "user" and not any(HOME in one.department for one in self.sandbox.corp.members.values()):
            op = "user/simplelist"  # nobody to get
        self.sandbox.inject(FAULTS[fault], op=op)

    def effects(self, object_name: str) -> Sequence[tuple[str, str]]:
        found = [effect for effect in self.sandbox.ledger().effects(by="api") if effect.verb in VERBS]
        return [
            (VERBS[effect.verb], f"{effect.after['userid'].lower()}/{effect.after['external_userid']}")
            for effect in found
        ]

    def coded(self, code: str) -> Answer:
        return answer(errcode=int(code), errmsg="？")


class Recorder:
    """Stands in for the HTTP client: a token, then answers from a list; keeps what was sent."""

    def __init__(self, *answers: Answer) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        self.tokens = 0
        self._answers = list(answers)

    async def request(self, method: str, url: str, *, content: bytes = b"", **_: Any) -> Answer:
        path = httpx.URL(url).path.removeprefix("/cgi-bin/")
        if path == "gettoken":
            self.tokens += 1
            return TOKEN
        self.sent.append((method, path, orjson.loads(content) if content else dict(httpx.URL(url).params)))
        return self._answers.pop(0)


async def related(bench: Bench, count: int = 1, **given: Any) -> list[VendorRef]:
    """Make relations at the vendor and return their references."""
    return [VendorRef(one) for one in await bench.stand.seed("follow", count)]


def writing(
    bench: Bench, ref: VendorRef | None, step: str, payload: dict[str, Json] | None = None, number: int = 1
) -> Write:
    full = bench.stand.payload("follow", number) | {"remark_company": "示例科技有限公司"}
    given = full if payload is None else payload
    return bench.write("follow", step, given, number=number, ref=ref)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give a sandbox on a socket with one employee."""
    async with Bench.open(WeComConnector, WeComStand) as opened:
        yield opened


@pytest.fixture
def wecom(bench: Bench) -> WeComConnector:
    """Give a connector to it."""
    connector = bench.connect()
    assert isinstance(connector, WeComConnector)
    return connector
