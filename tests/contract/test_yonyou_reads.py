"""Polls of Yonyou: lists that shift, repeat, lie and mix, and nothing lost or read for ever."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from connectors.yonyou import YonyouConnector
from connectors.yonyou.reading import ChangeReader
from hub.sdk import Cause, Failed, Gone, IntegrityError, Json, TryAgain, VendorKey
from hub.sdk.kit import Bench, latest
from tests.contract.yonyou_stand import (
    ORG,
    OlderStand,
    Recorder,
    YonyouStand,
    answer,
    bench,
    box,
    customer,
    yonyou,
)


def listed(rows: list[Json], total: Any) -> Any:
    data = {"pageIndex": "1", "pageSize": "3", "recordCount": total, "recordList": rows}
    return answer(code="200", message="处理成功", data=data)


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": 1_500_000_000_000_000_000 + number, "code": f"C{number}", "name": {"simplifiedName": f"公司{number}"},
        "createOrgCode": ORG, "pubts": f"2026-01-01 00:00:{number:02}", **more,
    }  # fmt: skip


async def read(bench: Bench, *answers: Any, after: Json = None) -> list[Any]:
    return await bench.pages(bench.connect(http=Recorder(*answers)), "customer", after)


# ------------------------------------------------------------------------------------------- shifting lists


@pytest.mark.parametrize("order", ["pubts_asc", "pubts_desc", "id"])
@pytest.mark.parametrize("stream", ["customer", "receipt"])
async def test_a_row_that_changes_between_any_two_pages_turns_over_no_other(order: Any, stream: str):
    for at in range(1, 4):
        async with Bench.open(YonyouConnector, YonyouStand) as bench:
            ids = await bench.stand.seed(stream, 9)
            box(bench).dials.list_order = order
            connector, pages = bench.connect(), []
            async for page in connector.read(stream, None, org=ORG):
                pages.append(page)
                if len(pages) == at:
                    await bench.stand.edit(stream, ids[0])
            assert set(ids) <= latest(pages).keys()


@pytest.mark.parametrize("at", [1, 2])
async def test_a_row_that_is_deleted_between_two_pages_hides_no_other(
    bench: Bench, yonyou: YonyouConnector, at: int
):
    ids = await bench.stand.seed("customer", 9)
    pages = []
    async for page in yonyou.read("customer", None, org=ORG):
        pages.append(page)
        if len(pages) == at:
            box(bench).desk.act("customer", ids[0], "delete")
    assert set(ids[1:]) <= latest(pages).keys()


async def test_a_read_that_was_cut_and_finds_another_count_begins_its_pass_anew(bench: Bench):
    ids = await bench.stand.seed("customer", 9)
    (first, *_) = [page async for page in bench.connect().read("customer", None, org=ORG)]
    box(bench).desk.act("customer", ids[0], "delete")
    rest = await bench.pages(bench.connect(), "customer", orjson.loads(orjson.dumps(first.cursor)))
    assert set(ids[1:]) <= latest([first, *rest]).keys()


async def test_two_changes_in_one_second_are_both_seen(bench: Bench, yonyou: YonyouConnector):
    made = [box(bench).desk.seed("customer", customer(number)) for number in (2, 3)]
    assert made[0]["pubts"] == made[1]["pubts"]
    pages = await bench.pages(yonyou, "customer")
    ids = [str(one["id"]) for one in made]
    for text in ("first", "second"):
        box(bench).desk.edit("customer", ids[0], {"contactTel": text})
        pages = await bench.pages(yonyou, "customer", pages[-1].cursor)
        assert [one.body["contactTel"] for page in pages for one in page.records] == [text]


async def test_rows_of_one_second_over_page_borders_are_all_shown(bench: Bench, yonyou: YonyouConnector):
    for number in range(2, 30):
        box(bench).desk.seed("customer", customer(number))
    pages = await bench.pages(yonyou, "customer")
    keys = [record.key.id for page in pages for record in page.records]
    assert len(keys) == len(set(keys)) == 29


async def test_a_poll_looks_back_so_that_a_late_commit_is_seen(bench: Bench, yonyou: YonyouConnector):
    await bench.stand.seed("customer", 2)
    pages = await bench.pages(yonyou, "customer")
    late = box(bench).desk.seed("customer", customer(50))
    kept = box(bench).books.get("customer", late["id"])
    assert kept is not None
    earlier = datetime.fromisoformat(kept.body["pubts"]) - timedelta(seconds=200)
    kept.body["pubts"] = kept.body["modifyTime"] = earlier.isoformat(" ")
    pages = await bench.pages(yonyou, "customer", pages[-1].cursor)
    assert latest(pages).keys() == {str(late["id"])}


async def test_a_poll_looks_back_over_the_time_its_pass_took(bench: Bench):
    """A row that changes on a page read before must be in front of the next pass, however long this one took."""
    answers = [listed([row(1), row(2), row(3)], "4"), listed([row(4)], "4")]
    connector = bench.connect(http=Recorder(*answers))
    clock = connector.tools.clock
    began, pages = clock.now(), []
    async for page in connector.read("customer", None, org=ORG):
        pages.append(page)
        connector.tools.clock.now = lambda: began + 1_000_000_000  # type: ignore[method-assign]
    cursor: Any = pages[-1].cursor
    back = datetime.fromisoformat(row(4)["pubts"]) - datetime.fromisoformat(cursor["since"])
    assert timedelta(seconds=1300) <= back < timedelta(seconds=1310)


async def test_a_time_in_the_future_does_not_carry_the_poll_away(bench: Bench):
    pages = await read(bench, listed([row(1, pubts="2999-01-01 00:00:00")], "1"))
    cursor: Any = pages[-1].cursor
    assert cursor["since"] < "2100"


@pytest.mark.parametrize("pubts", [None, "", "yesterday", "2026-02-30 00:00:00", 1_700_000_000])
async def test_a_row_without_a_time_to_rely_on_is_shown_and_moves_nothing(bench: Bench, pubts: Any):
    pages = await read(bench, listed([row(1, pubts=pubts)], "1"))
    assert len(latest(pages)) == 1
    assert pages[-1].cursor["since"] == "1970-01-01 00:00:00"


# ------------------------------------------------------------------------------------------- lists that lie (U7)


async def test_u7_a_page_that_repeats_for_ever_ends_the_read(bench: Bench, yonyou: YonyouConnector):
    await bench.stand.seed("customer", 9)
    box(bench).dials.ignore_page = True
    with pytest.raises(IntegrityError) as caught:
        await bench.pages(yonyou, "customer")
    assert caught.value.cause is Cause.CURSOR


async def test_u7_a_total_that_shrinks_in_every_pass_is_tried_again_later(bench: Bench):
    first, second = [row(1), row(2), row(3)], [row(4), row(5), row(6)]
    answers = [listed(rows, total) for _ in range(5) for rows, total in ((first, "9"), (second, "8"))]
    with pytest.raises(TryAgain) as caught:
        await read(bench, *answers)
    assert caught.value.cause is Cause.BAD_ANSWER


async def test_u7_a_list_that_never_ends_is_left(bench: Bench):
    answers = [listed([row(3 * n), row(3 * n + 1), row(3 * n + 2)], "3") for n in range(19)]
    with pytest.raises(TryAgain):
        await read(bench, *answers)


@pytest.mark.parametrize("total", [None, "many", -1, "", "1e9", [], "9" * 20])
async def test_u7_a_count_that_is_none_is_a_bad_answer(bench: Bench, total: Any):
    with pytest.raises(TryAgain) as caught:
        await read(bench, listed([row(1)], total))
    assert caught.value.cause is Cause.BAD_ANSWER


@pytest.mark.parametrize(
    "rows", [[None], ["x"], {}, [{"code": "C1"}], [{"id": True}], [{"id": "abc"}], [{"id": 1.5}]]
)
async def test_u7_rows_of_another_shape_are_a_bad_answer(bench: Bench, rows: Any):
    with pytest.raises(TryAgain):
        await read(bench, listed(rows, "1"))


@pytest.mark.parametrize("data", [None, [], "x", 5])
async def test_u7_a_success_without_a_list_is_a_bad_answer_and_an_empty_one_is_none(bench: Bench, data: Any):
    with pytest.raises(TryAgain):
        await read(bench, answer(code="200", message="处理成功", data=data))
    assert not latest(await read(bench, listed([], "0")))
    assert not latest(await read(bench, answer(code="200", data={"recordCount": 0, "recordList": None})))


async def test_u7_states_nobody_documented_are_passed_on(bench: Bench, yonyou: YonyouConnector):
    (one,) = await bench.stand.seed("receipt", 1)
    box(bench).dials.unknown_enums = True
    (record,) = latest(await bench.pages(yonyou, "receipt")).values()
    assert (record.key.id, record.stage, record.body["verifyState"]) == (one, "9", 9)  # type: ignore[index,call-overload]
    for shown in latest(await bench.pages(yonyou, "customer")).values():
        assert shown.body["taxPayingCategories"] == 77  # type: ignore[index,call-overload]


async def test_u8_a_customer_of_another_organisation_in_our_list_stops_the_read(bench: Bench):
    with pytest.raises(IntegrityError) as caught:
        await read(bench, listed([row(1, createOrgCode="ORG009")], "1"))
    assert caught.value.cause is Cause.FOREIGN


async def test_receipts_of_another_organisation_are_left_out_but_counted(
    bench: Bench, yonyou: YonyouConnector
):
    ids = await bench.stand.seed("receipt", 4)
    for one in ids[:2]:
        box(bench).desk.edit("receipt", one, {"financeOrgCode": "ORG002"})
    assert latest(await bench.pages(yonyou, "receipt")).keys() == set(ids[2:])


# ------------------------------------------------------------------------------------------- receipts as lists show them


@pytest.mark.parametrize("stand", [YonyouStand, OlderStand])
async def test_a_receipt_with_three_lines_is_one_receipt_with_its_sum(stand: Any):
    async with Bench.open(YonyouConnector, stand) as bench:
        (one,) = await bench.stand.seed("receipt", 1)
        form = bench.stand.form("receipt")  # type: ignore[attr-defined]
        kept = box(bench).books.get(form, one)
        assert kept is not None
        table = "bodyItem" if form == "receipt" else "ReceiveBill_b"
        kept.body[table] = kept.body[table] * 3
        pages = await bench.pages(bench.connect(), "receipt")
        (record,) = [record for page in pages for record in page.records]
        assert record.body["oriTaxIncludedAmount"] == "7.00"  # type: ignore[index,call-overload]


async def test_times_are_read_in_the_tenants_zone_and_shown_in_utc(bench: Bench):
    (page,) = await read(bench, listed([row(1, pubts="2026-01-10 08:00:00")], "1"))
    assert page.records[0].body["pubts"] == "2026-01-10T00:00:00Z"


async def test_a_missing_customer_is_asked_for_twice_before_it_counts_as_gone(bench: Bench):
    def details(*rows: Json) -> Any:
        return answer(code="200", message="处理成功", data=list(rows))

    key = VendorKey(ORG, str(row(1)["id"]))
    assert await bench.connect(http=Recorder(details(), details())).fetch("customer", [key]) == [Gone(key)]
    (hidden,) = await bench.connect(http=Recorder(details(), details(row(1)))).fetch("customer", [key])
    assert isinstance(hidden, Failed)
    assert hidden.error.cause is Cause.PERMISSION
    lost = Recorder(details(), answer(code="310043", message="熔断"))
    (unclear,) = await bench.connect(http=lost).fetch("customer", [key])
    assert isinstance(unclear, Failed)
    assert isinstance(unclear.error, TryAgain)


async def test_one_unknown_customer_spoils_no_fetch_of_others(bench: Bench):
    """What `newBatchDetail` says to an unknown id is UNCONFIRMED: a refusal of the whole is taken apart."""
    no = answer(code="1002", message="数据不存在")
    yes = answer(code="200", message="处理成功", data=[row(2)])
    keys = [VendorKey(ORG, str(row(number)["id"])) for number in (1, 2)]
    recorder = Recorder(no, no, yes, answer(code="200", data=[]))
    gone, there = await bench.connect(http=recorder).fetch("customer", keys)
    assert gone == Gone(keys[0])
    assert there.key == keys[1]  # type: ignore[union-attr]


async def test_a_read_remembers_a_bounded_number_of_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("connectors.yonyou.reading.REMEMBERED", 2)
    monkeypatch.setattr("connectors.yonyou.reading.HELD", 3)
    await bench.stand.seed("customer", 8)
    pages = await bench.pages(bench.connect(), "customer")
    assert max(len(page.cursor["seen"]) for page in pages) == 2  # type: ignore[index,call-overload,arg-type]
    assert ChangeReader.__doc__
