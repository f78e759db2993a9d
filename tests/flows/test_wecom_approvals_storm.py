"""Approvals whose creates lose their answers and whose events come twice, late or never end as WeCom has them, each once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from connectors.wecom.sandbox.acts import Submit
from connectors.wecom.sandbox.templates import CONTRACT, LABEL
from tests.storm.approval_judge import Held, judged
from tests.storm.approval_play import play
from tests.storm.approval_vendor import Sky
from tests.storm.approval_wecom import WeCom
from tests.storm.site import Hours, StormClock


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_a_storm_of_approvals_the_crm_has_what_wecom_has_and_no_form_is_there_twice(
    tmp_path: Path, seed: int
) -> None:
    found, counts = await play(tmp_path, approvals=30, seed=seed)
    print(seed, counts)
    for one in found:
        assert not one.violations, f"seed {seed}: {one.name}: {one.violations[:5]}"
    assert {one.name: one.looked_at for one in found if "exactly one form" in one.name}.popitem()[1] == 30
    assert counts["creates_without_answer"] > 0
    for what in ("lost", "duplicated", "reordered"):
        assert counts[f"callbacks_{what}"] > 0, what


async def test_without_the_sweep_an_event_that_was_lost_shows_in_the_state(tmp_path: Path) -> None:
    found, _ = await play(tmp_path, approvals=20, seed=3, sky=Sky(lose=0.9), swept=False)
    wrong = Counter({one.name: len(one.violations) for one in found if one.violations})
    assert wrong["the CRM shows each of its approvals in the state the vendor has"] > 3
    assert wrong["exactly one form at the vendor for each approval of the CRM"] == 0


def test_the_judge_sees_a_form_too_many_a_form_that_is_missing_and_another_state() -> None:
    vendor = WeCom(StormClock(Hours()), 1)
    started = [_by_api(vendor, f"{no} [00000000]") for no in ("A-1", "A-1", "A-2")]
    vendor.do(started[2], "reject")
    records: list[dict[str, Any]] = [
        {"external_ref": started[1], "status": "in_progress"},
        {"external_ref": started[2], "status": "approved"},
    ]
    shown = {"A-1": records[0], "A-2": records[1], "A-3": {"status": "submitted"}}
    debt = {"sync": "s", "subject": "x", "state": "parked", "waits_for": None, "cause": None}
    held = Held(shown, {"A-2": {"status": "active"}}, records, [debt])
    found = [one.violations for one in judged(vendor, held)]
    once, same, decided, deal, one, _, rest = found
    assert [text[:4] for text in once] == ["A-1:", "A-3:"]
    assert [text[:4] for text in same] == ["A-2:", "A-3:"]
    assert [text[:4] for text in decided] == ["A-2:"]
    assert [text[:4] for text in deal] == ["A-2:"]
    assert [text.partition(":")[0] for text in one] == [started[0]]
    assert len(rest) == 1


def _by_api(vendor: WeCom, number: str) -> str:
    """Have a form there as if the app had sent it; return its number."""
    sandbox, values = vendor.sandbox, {"客户名称": "示例", "合同金额": "1.00", LABEL: number}
    userid = next(iter(vendor.applicants.values()))
    (told,) = sandbox.act(Submit(template_id=CONTRACT, userid=userid, values=values, silent=True))
    form = sandbox.corp.forms[str(told["sp_no"])]
    sandbox.corp.put(form, "applyevent", "api")
    return form.sp_no
