"""Approvals whose creates lose their answers and whose events come twice, late or never end as DingTalk has them, each once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.dingtalk.sandbox.seed import CORRELATION
from hub.sdk.sandbox import running
from tests.storm.approval_dingtalk import DingTalk
from tests.storm.approval_judge import Held, Invariant, judged
from tests.storm.approval_play import play
from tests.storm.approval_vendor import AMOUNT, CUSTOMER_NAME, NUMBER, Sky
from tests.storm.site import Hours, StormClock

SELLER = "seller"


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_a_storm_of_approvals_the_crm_has_what_dingtalk_has_and_no_form_is_there_twice(
    tmp_path: Path, seed: int
) -> None:
    found, counts = await play(tmp_path, approvals=30, seed=seed, vendor="dingtalk")
    print(seed, counts)
    for one in found:
        assert not one.violations, f"seed {seed}: {one.name}: {one.violations[:5]}"
    assert {one.name: one.looked_at for one in found if "exactly one form" in one.name}.popitem()[1] == 30
    assert counts["creates_without_answer"] > 0
    for what in ("lost", "duplicated", "reordered"):
        assert counts[f"callbacks_{what}"] > 0, what


async def test_without_the_sweep_an_event_that_was_lost_shows_in_the_state(tmp_path: Path) -> None:
    found, _ = await play(tmp_path, approvals=20, seed=3, vendor="dingtalk", sky=Sky(lose=0.9), swept=False)
    wrong = Counter({one.name: len(one.violations) for one in found if one.violations})
    assert wrong["the CRM shows each of its approvals in the state the vendor has"] > 3
    assert wrong["exactly one form at the vendor for each approval of the CRM"] == 0


def test_the_judge_takes_a_form_made_again_for_a_fault_unless_nobody_could_know_of_the_first() -> None:
    vendor = DingTalk(StormClock(Hours()), 1)
    gone, made_again, known, doubled = (
        _by_api(vendor, f"{no} [00000000]") for no in ("A-1", "A-1", "A-2", "A-2")
    )
    vendor.sandbox.told |= {known, doubled}
    vendor.do(gone, "delete")
    vendor.do(known, "delete")
    records = [{"external_ref": one, "status": "in_progress"} for one in (made_again, doubled)]
    records.append({"external_ref": known, "status": "terminated"})
    found = _judged(vendor, {"A-1": records[0], "A-2": records[1]}, records)
    once, same, _, _, one, _, _ = found
    assert [text[:4] for text in once.violations] == ["A-2:"]
    assert not same.violations
    assert not one.violations


def test_the_judge_reads_who_acted_and_what_was_revoked_or_only_asked_to_be() -> None:
    vendor = DingTalk(StormClock(Hours()), 1)
    states = {}
    for no, steps in {
        "revoked": ("agree", "revoke"), "asked": ("agree", "ask_to_revoke"), "changed": ("agree", "modify"),
        "refused": ("comment", "reject"), "taken back": ("withdraw",),
    }.items():  # fmt: skip
        id_ = _by_api(vendor, no)
        for step in steps:
            vendor.do(id_, step)
        (states[no],) = ((form.state, form.acted) for form in vendor.forms() if form.id == id_)
    assert states == {
        "revoked": ("revoked", 3), "asked": ("approved", 3), "changed": ("approved", 3), "refused": ("rejected", 1),
        "taken back": ("withdrawn", 1),
    }  # fmt: skip


def test_the_judge_wants_a_contract_active_that_people_had_approved_themselves() -> None:
    vendor = DingTalk(StormClock(Hours()), 1)
    values = {CUSTOMER_NAME: "示例", AMOUNT: "88.00", NUMBER: "ZF-1"}
    id_ = vendor.start(SELLER, values)
    vendor.do(id_, "agree")
    record = {"external_ref": id_, "status": "approved"}
    for status, wrong in (("active", 0), ("in_approval", 1)):
        deal = _judged(vendor, {}, [record], {"ZF-1": {"status": status}})[3]
        assert (deal.looked_at, len(deal.violations)) == (1, wrong), status


async def test_only_what_an_answer_showed_counts_as_known_to_the_hub() -> None:
    vendor = DingTalk(StormClock(Hours()), 1)
    async with (
        running(vendor.sandbox) as base_url,
        httpx.AsyncClient(base_url=base_url, trust_env=False) as client,
    ):
        given = vendor.sandbox.credentials(base_url)
        secret = {"appKey": given["app_key"], "appSecret": given["app_secret"]}
        token = (await client.post("/v1.0/oauth2/accessToken", json=secret)).json()["accessToken"]
        client.headers["x-acs-dingtalk-access-token"] = token
        form = [{"name": CUSTOMER_NAME, "value": "示例"}, {"name": AMOUNT, "value": "1.00"}]
        body = {
            "originatorUserId": SELLER,
            "processCode": vendor.template,
            "deptId": 210,
            "formComponentValues": form,
        }
        create = "/v1.0/workflow/processInstances"
        vendor.sandbox.inject("apply_then_drop", op=vendor.create)
        with pytest.raises(httpx.TransportError):
            await client.post(create, json=body)
        (lost,) = vendor.created()
        answered = (await client.post(create, json=body)).json()["instanceId"]
        assert vendor.sandbox.told == {answered}
        await client.get(create, params={"processInstanceId": lost})
        assert vendor.sandbox.told == {answered, lost}


def _judged(
    vendor: DingTalk,
    shown: dict[str, dict[str, Any]],
    records: list[dict[str, Any]],
    contracts: dict[str, dict[str, Any]] | None = None,
) -> list[Invariant]:
    return judged(vendor, Held(shown, contracts or {}, records, []))


def _by_api(vendor: DingTalk, number: str) -> str:
    """Have a form there as if the app had sent it; return its id."""
    id_ = vendor.start(SELLER, {CUSTOMER_NAME: "示例", AMOUNT: "1.00", CORRELATION: number})
    vendor.sandbox.company.put(vendor.verb, vendor.sandbox.company.instances[id_], by="api")
    return id_
