"""The WeCom sandbox with its approvals: what the kit drives, and words for tests of approvals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest

from connectors.wecom import WeComConnector
from connectors.wecom.sandbox.acts import ActOnForm, Submit
from connectors.wecom.sandbox.rows import Form
from connectors.wecom.sandbox.templates import CONTRACT, EVERYTHING, LABEL
from hub.sdk import Applied, Failed, Json, Refused, SourceRecord, VendorKey, VendorRef, Write
from hub.sdk.kit import Bench, Fault
from tests.wecom_stand import FAULTS, SELLER, WeComStand

OPERATIONS = {("read", "approval"): "oa/getapprovalinfo", ("save", "approval"): "oa/applyevent"}
VALUES = {"客户名称": "示例", "合同金额": "5000"}


class WeComApprovalStand(WeComStand):
    """The one template is taken in; the app sees the whole corp where approvals are concerned: approvers are elsewhere."""

    plans: ClassVar = {**WeComStand.plans, "approval": ("save",)}

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"template_ids": CONTRACT, "approval_calls": 100_000}

    async def prepare(self, name: str) -> None:
        await super().prepare(name)
        if name == "approval":
            see_everybody(self)

    async def seed(self, stream: str, count: int) -> list[str]:
        if stream != "approval":
            return await super().seed(stream, count)
        ids = []
        for number in range(count):
            act = Submit(
                template_id=CONTRACT,
                userid=SELLER,
                values=VALUES | {"客户名称": f"客户{number}"},
                silent=True,
            )
            (made,) = self.sandbox.act(act)
            ids.append(str(made["sp_no"]))
            self.sandbox.advance(0.001)
        return ids

    async def edit(self, stream: str, vendor_id: str) -> None:
        if stream != "approval":
            await super().edit(stream, vendor_id)
            return
        self.sandbox.act(ActOnForm(act="agree", sp_no=vendor_id, silent=True))

    def payload(self, object_name: str, number: int) -> dict[str, Json]:
        if object_name != "approval":
            return super().payload(object_name, number)
        return contract(correlation=f"HT-2026-{number:04}-1")

    def bad(self, object_name: str) -> dict[str, Json]:
        if object_name != "approval":
            return super().bad(object_name)
        return contract(form={"客户名称": "示例", "合同金额": "五千"})

    def change(self, object_name: str) -> dict[str, Json]:
        if object_name != "approval":
            return super().change(object_name)
        return {"form": {"合同金额": "6000"}}

    def inject(self, fault: Fault, operation: str, name: str) -> None:
        if name != "approval":
            super().inject(fault, operation, name)
            return
        self.sandbox.dials.late_by = self.late
        self.sandbox.inject(FAULTS[fault], op=OPERATIONS[operation, name])

    def effects(self, object_name: str) -> Sequence[tuple[str, str]]:
        if object_name != "approval":
            return super().effects(object_name)
        return [
            ("save", one.id) for one in self.sandbox.ledger().effects(by="api") if one.verb == "applyevent"
        ]


def see_everybody(stand: WeComStand) -> None:
    """Put the whole corp into the app's visible range."""
    for app in stand.sandbox.gate.apps.values():
        app.visible_departments = [1]


def contract(**given: Any) -> dict[str, Json]:
    """Return a payload that starts the approval of a contract."""
    form = {"客户名称": "示例有限公司", "合同金额": "5000.00"} | given.pop("form", {})
    told = {name: value for name, value in form.items() if value is not None}
    return {
        "processCode": CONTRACT, "originatorUserId": SELLER, "correlation": "HT-2026-0001-1", "form": told, **given,
    }  # fmt: skip


def everything(form: dict[str, Any] | None = None, **more: Any) -> dict[str, Json]:
    """Return a payload for the template with every control."""
    return {
        "processCode": EVERYTHING, "originatorUserId": SELLER, "correlation": "ALL-1", "form": form or {}, **more,
    }  # fmt: skip


def writing(
    bench: Bench, payload: dict[str, Json], *, number: int = 1, ref: VendorRef | None = None
) -> Write:
    return bench.write("approval", "save", payload, number=number, ref=ref)


def stored(bench: Bench, ref: VendorRef) -> Form:
    """Return what the vendor keeps."""
    form: Form = bench.stand.sandbox.corp.forms[ref.vendor_id]
    return form


async def started(
    wecom: WeComConnector, bench: Bench, payload: dict[str, Json] | None = None, number: int = 1
) -> VendorRef:
    (result,) = await wecom.write([writing(bench, payload or contract(), number=number)])
    assert isinstance(result, Applied), result
    return result.ref


async def refused(wecom: WeComConnector, bench: Bench, payload: dict[str, Json]) -> Refused:
    """Write what must be refused, with no effect at the vendor; return the refusal."""
    before = len(bench.stand.effects("approval"))
    (result,) = await wecom.write([writing(bench, payload)])
    assert isinstance(result, Failed), result
    assert isinstance(result.error, Refused), result.error
    assert len(bench.stand.effects("approval")) == before
    return result.error


async def shown(wecom: WeComConnector, sp_no: str) -> dict[str, Any]:
    """Return one approval as it is read."""
    (record,) = await wecom.fetch("approval", [VendorKey("", sp_no)])
    assert isinstance(record, SourceRecord), record
    return record.body  # type: ignore[return-value]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Give a sandbox on a socket; its app sees the whole corp."""
    async with Bench.open(WeComConnector, WeComApprovalStand) as opened:
        see_everybody(opened.stand)  # type: ignore[arg-type]
        yield opened


@pytest.fixture
def wecom(bench: Bench) -> WeComConnector:
    """Give a connector to it."""
    connector = bench.connect()
    assert isinstance(connector, WeComConnector)
    return connector


__all__ = [
    "CONTRACT", "EVERYTHING", "LABEL", "SELLER", "VALUES", "WeComApprovalStand", "bench", "contract", "everything", "refused", "see_everybody",
    "shown", "started", "stored", "wecom", "writing",
]  # fmt: skip
