"""The Mailchimp sandbox as the contract kit drives it: one account, one audience."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import httpx
import orjson
import pytest

from connectors.mailchimp import MailchimpConnector
from connectors.mailchimp.sandbox import MailchimpDials, MailchimpSandbox
from hub.sdk import Answer, Json, Secret
from hub.sdk.kit import Bench, Fault, Stand

LIST = "a6b5da1054"
SIGNING, URL_SECRET = "mc_test_secret", "q8W3rT6yU1iO4pA7sD0fG2hJ5kL9zX"
FAULTS = {
    Fault.BROKEN: "fail_before", Fault.DROPPED: "apply_then_drop", Fault.CUT: "cut_body", Fault.GARBLED: "apply_then_502",
    Fault.LATE: "apply_late", Fault.RATE: "error_TooManyRequests", Fault.EXPIRED: "error_APIKeyInvalid", Fault.HTML: "html_200",
}  # fmt: skip
READS = {"member": "members.list", "consent": "members.list", "result": "campaigns.list"}
STATUSES = {
    401: ("APIKeyMissing", "APIKeyInvalid"), 403: ("Forbidden", "UserDisabled", "WrongDatacenter"), 404: ("ResourceNotFound",),
    405: ("MethodNotAllowed",), 414: ("ResourceNestingTooDeep",), 422: ("InvalidMethodOverride", "RequestedFieldsInvalid"),
    426: ("UpgradeRequired",), 429: ("TooManyRequests",), 500: ("InternalServerError",), 503: ("ComplianceRelated",),
}  # fmt: skip
TITLES = {"UpgradeRequired": "426 Unknown", "MemberInComplianceState": "Member In Compliance State"}


def email(number: int) -> str:
    return f"person{number}@acme-asia.sg"


def answer(status: int = 200, /, **body: Any) -> Answer:
    kind = "application/json" if status < 300 else "application/problem+json"
    return Answer(status, httpx.Headers({"content-type": f"{kind}; charset=utf-8"}), orjson.dumps(body))


class MailchimpStand(Stand):
    plans: ClassVar = {"member": ("save",)}
    sandbox: MailchimpSandbox

    def make(self) -> MailchimpSandbox:
        return MailchimpSandbox(dials=MailchimpDials())

    def settings(self) -> dict[str, Any]:
        given = dict(self.sandbox.credentials(self.base_url))
        return given | {
            "api_key": Secret(given["api_key"]), "page_size": self.page_size, "settle_after": 150,
            "webhook_signing_secret": Secret(SIGNING), "results_days": 365,
        }  # fmt: skip

    def wrong_key(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "api_key": Secret("00000000000000000000000000000000-us19")}

    async def call(self, method: str, path: str, **body: Any) -> Any:
        async with httpx.AsyncClient() as client:
            said = await client.request(method, f"{self.base_url}/control{path}", json=body)
        assert said.is_success, said.text
        return said.json()

    def add(self, number: int, status: str = "subscribed", **fields: Any) -> dict[str, Any]:
        """Put a member there as if it had always been."""
        people = self.sandbox.members
        return people.shown(
            people.add(LIST, email(number), status, fields, skip=True, by="seed", source="admin")
        )

    async def seed(self, stream: str, count: int) -> list[str]:
        made = []
        for _ in range(count):
            row = self.add(len(self.sandbox.members.of(LIST)) + 1)
            made.append(str(row["id"] if stream == "result" else row["contact_id"]))
            self.sandbox.advance(1)
        if stream == "result":
            self.sandbox.reports.send(LIST, "News")
            self.sandbox.advance(1)
        return made

    async def edit(self, stream: str, vendor_id: str) -> None:
        self.sandbox.advance(1)
        people = self.sandbox.members
        row = people.need(LIST, vendor_id)
        if stream == "member":
            people.edit(row, {"merge_fields": {"FNAME": f"at {self.sandbox.clock.now()}"}})
        elif stream == "consent":
            people.leave(row) if row["status"] == "subscribed" else people.confirm(row)
        else:
            campaign = self.sandbox.reports.campaigns({"member_id": vendor_id})[0]["id"]
            self.sandbox.reports.act(campaign, row["email_address"], "click")

    def payload(self, object_name: str, number: int) -> dict[str, Json]:
        return {"email_address": email(1000 + number), "status_if_new": "transactional", "language": "zh"}

    def bad(self, object_name: str) -> dict[str, Json]:
        return {"email_address": "someone@example.com", "status_if_new": "transactional"}

    def change(self, object_name: str) -> dict[str, Json]:
        return {"language": "en"}

    def inject(self, fault: Fault, operation: str, name: str) -> None:
        self.sandbox.dials.late_by = self.late
        ops = [READS[name]] if operation == "read" else ["members.put", "members.patch"]
        for op in ops:
            self.sandbox.inject(FAULTS[fault], op=op)

    def effects(self, object_name: str) -> Sequence[tuple[str, str]]:
        found = self.sandbox.ledger().effects(by="api", form="member")
        return [("save", str(effect.id)) for effect in found if effect.verb != "tag"]

    def coded(self, code: str) -> Answer:
        status = next((status for status, names in STATUSES.items() if code in names), 400)
        return answer(
            500 if code.isdigit() else status, title=TITLES.get(code, code), status=status, detail="?"
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give a sandbox on a socket."""
    async with Bench.open(MailchimpConnector, MailchimpStand) as opened:
        yield opened


@pytest.fixture
def mailchimp(bench: Bench) -> MailchimpConnector:
    """Give a connector to it."""
    connector = bench.connect()
    assert isinstance(connector, MailchimpConnector)
    return connector


def box(bench: Bench) -> MailchimpSandbox:
    """Return the sandbox of a bench."""
    assert isinstance(bench.stand.sandbox, MailchimpSandbox)
    return bench.stand.sandbox


def stand(bench: Bench) -> MailchimpStand:
    """Return the stand of a bench."""
    assert isinstance(bench.stand, MailchimpStand)
    return bench.stand
