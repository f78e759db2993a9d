"""The judge of people sees what is planted: a lost fact, a doubled one, a write behind a newer one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.judge_people import Evidence, judge_people

SECOND = 1_000_000
AT = 1_790_000_000
PAIR = "e-1/wm1"


def effect(verb: str, by: str, second: int, **fields: Any) -> dict[str, Any]:
    return {
        "verb": verb,
        "form": "follow",
        "by": by,
        "id": "Sales01:wm1",
        "at": second * SECOND,
        "fields": fields,
    }


def delivery(change: str, second: int, status: int = 200) -> dict[str, Any]:
    said = {"ChangeType": change, "UserID": "Sales01", "ExternalUserID": "wm1"}
    plain = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in said.items())
    return {"status": status, "attempt": 1, "plain": f"<xml><CreateTime>{second}</CreateTime>{plain}</xml>"}


def write(verb: str, second: int, number: int, *, changed: bool = True) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "asked": {"remark": f"客户经理{number}"},
        "changed": ["remark"] if changed else [],
        "tag_names": [],
    }
    return effect(verb, "api", second, **fields)


def evidence(**changes: Any) -> Evidence:
    """Return a run in which one person was added, left, and was given a remark; nothing is wrong with it."""
    relation = {
        "userid": "Sales01", "external_userid": "wm1", "stage": "one_way", "createtime": AT, "remark": "客户经理1",
        "remark_corp_name": "示例公司", "remark_mobiles": ["13800138000"], "tag_names": [],
    }  # fmt: skip
    follow = {
        "contact": "c1", "employee": "e-1", "state": "deleted_by_contact", "since": "2026-09-21T14:13:20Z", "remark": "客户经理1",
        "company_name": "示例公司", "mobiles": ["+8613800138000"], "tags": [],
    }  # fmt: skip
    contact = {"wecom_external_userid": "wm1", "name": "人0", "mobiles": ["+8613800138000"]}
    records = {
        "contacts": [{"id": "c1", "owner": "e-1", "fields": contact}],
        "follows": [{"id": "f1", "owner": "e-1", "fields": follow}],
        "customers": [{"id": "k1", "owner": "e-1", "fields": {"name": "示例公司"}}],
    }
    made: dict[str, Any] = {
        "ledger": [
            effect("add_contact", "user", AT), write("remark", AT + 1, 1), effect("delete_by_customer", "user", AT + 2)
        ],
        "people": [{"external_userid": "wm1", "follows": [relation]}],
        "deliveries": [delivery("add_external_contact", AT), delivery("del_follow_user", AT + 2)],
        "intents": [{"edit": 1, "pair": PAIR, "at": AT * SECOND + 1, "remark": "客户经理1", "answer": "ok"}],
        "before": records, "after": records,
        "kingdee": [{"verb": "create", "form": "BD_Customer", "by": "api", "fields": {"FName": "示例公司"}}],
    }  # fmt: skip
    return Evidence(**{**made, **changes})


def wrong(found: Evidence) -> list[str]:
    return [line["invariant"].partition(":")[0] for line in judge_people(found) if line["violations"]]


def shown(**fields: Any) -> dict[str, list[dict[str, Any]]]:
    good = evidence().after
    return {**good, "follows": [{**good["follows"][0], "fields": {**good["follows"][0]["fields"], **fields}}]}  # type: ignore[dict-item]


def test_a_run_without_faults_is_found_clean() -> None:
    lines = judge_people(evidence())
    assert [line["violations"] for line in lines] == [[]] * len(lines)
    assert all(line["looked_at"] for line in lines if line["invariant"] != "no tag made twice")


@pytest.mark.parametrize(
    ("planted", "invariants"),
    [
        ({"before": shown(state="active")}, ["nothing lost", "a leaving that no read shows is remembered"]),
        ({"before": {**evidence().after, "follows": []}}, ["nothing lost", "a leaving that no read shows is remembered"]),
        ({"after": shown(mobiles=[])}, ["after the sweep both sides agree on every relation",
                                       "owner, mobiles and tags of a person follow from the relations"]),
        ({"after": {**evidence().after, "customers": evidence().after["customers"] * 2}}, ["nothing doubled in the CRM"]),
        ({"kingdee": evidence().kingdee * 2}, ["a customer of every noted company, once in Kingdee"]),
        ({"kingdee": []}, ["a customer of every noted company, once in Kingdee"]),
        ({"ledger": [*evidence().ledger, write("remark", AT + 3, 2), write("remark", AT + 4, 1)]}, ["order kept"]),
        ({"intents": [*evidence().intents, {**evidence().intents[0], "edit": 2, "remark": "客户经理2"}]},
         ["accepted edits of the CRM are at WeCom"]),
    ],
    ids=["leaving lost", "person lost", "not agreed", "customer twice", "twice in Kingdee", "not in Kingdee", "old write", "edit lost"],
)  # fmt: skip
def test_what_is_planted_is_found(planted: dict[str, Any], invariants: list[str]) -> None:
    assert wrong(evidence(**planted)) == invariants


def test_a_tag_that_was_made_twice_is_found() -> None:
    tag = {
        "verb": "add_corp_tag",
        "form": "tag",
        "by": "api",
        "id": "et1",
        "at": AT,
        "fields": {"group_name": "CRM", "name": "批次1"},
    }
    assert wrong(evidence(ledger=[*evidence().ledger, tag, {**tag, "id": "et2"}])) == ["no tag made twice"]


def test_what_was_never_acknowledged_may_be_lost_until_the_sweep() -> None:
    lost = [delivery("add_external_contact", AT, 0), delivery("del_follow_user", AT + 2, 0)]
    nothing: dict[str, list[Any]] = {"contacts": [], "follows": [], "customers": []}
    found = evidence(deliveries=lost, before=nothing, after=shown(state="active"))
    assert wrong(found) == []


@pytest.mark.parametrize("state", ["active", "deleted_by_contact"])
def test_a_leaving_whose_callback_got_no_answer_may_be_known_or_not(state: str) -> None:
    untold = [delivery("add_external_contact", AT), delivery("del_follow_user", AT + 2, 503)]
    assert wrong(evidence(deliveries=untold, before=shown(state=state), after=shown(state=state))) == []


def test_an_identical_repeat_is_counted_and_is_no_fault() -> None:
    found = evidence(ledger=[*evidence().ledger, write("remark", AT + 3, 1, changed=False)])
    assert wrong(found) == []
    (order,) = [line for line in judge_people(found) if line["invariant"].startswith("order")]
    assert order["repeats"] == 1
