"""Events of the Yonyou stand-in: the test call, both schemes, the ladder of repeats, and the way into the CRM."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from connectors.yonyou import YonyouConnector
from connectors.yonyou.sandbox import YonyouDials, YonyouSandbox
from connectors.yonyou.sandbox.pushes import CheckUrlError, Subscription
from hub.api.hooks import Doors, doors_of
from hub.bus import INBOUND, Log
from hub.mapping import Schemas, crm_schemas, load_value_maps
from hub.mapping import compile as compile_mapping
from hub.pipe.intake import Intake
from hub.pipe.world import World
from hub.project.values import Connection, Sync
from hub.sdk import Secret, Toolbox
from tests.contract.test_yonyou_window import FOLDER, SPEC, Hub
from tests.contract.yonyou_door import event
from tests.contract.yonyou_stand import ORG, customer, seeded
from tests.pipe_stand import HandClock

DAY = 86_400
URL = "https://hub.test/hooks/yonyou"


def connector(box: YonyouSandbox, clock: Any, **more: Any) -> YonyouConnector:
    given = dict(box.credentials("https://yonyou.test"))
    given |= {"app_secret": Secret(given["app_secret"]), "org_code": ORG, **more}
    return YonyouConnector(given, Toolbox(None, clock, structlog.get_logger()))  # type: ignore[arg-type]


class Receiver:
    """What stands at the address: answers as told, keeps what came."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        answer = self.answers.pop(0) if self.answers else httpx.Response(200, text="success")
        if isinstance(answer, Exception):
            raise answer
        return answer


async def listening(*answers: Any, scheme: str = "signature", **dials: Any) -> tuple[YonyouSandbox, Receiver]:
    box = YonyouSandbox(clock=HandClock(3), dials=YonyouDials(push_auto=False, **dials))
    receiver = Receiver()
    box.pushes.transport = httpx.MockTransport(receiver)
    await box.subscribe(Subscription(URL, scheme))
    receiver.bodies.clear()
    receiver.answers = list(answers)
    return box, receiver


async def due(box: YonyouSandbox) -> None:
    """Deliver what has become due by the virtual clock, and no more."""
    box.pushes._promote(box.clock.now())
    if box.pushes._queue.ready:
        box.pushes._start()
        assert box.pushes._task is not None
        await box.pushes._task


# ------------------------------------------------------------------------------------------- the subscription


@pytest.mark.parametrize("scheme", ["signature", "msgSignature"])
async def test_a_subscription_is_saved_after_a_check_url_that_was_answered(scheme: str):
    box = YonyouSandbox(clock=HandClock(3))
    receiver = Receiver()
    box.pushes.transport = httpx.MockTransport(receiver)
    await box.subscribe(Subscription(URL, scheme))
    (body,) = receiver.bodies
    assert set(body) == {scheme, "timestamp", "nonce", "encrypt"}
    assert (len(body["nonce"]), isinstance(body["timestamp"], int)) == (16, True)
    assert box.pushes.subscription is not None


@pytest.mark.parametrize(
    "bad",
    [httpx.Response(200, text="ok"), httpx.Response(204), httpx.Response(401), httpx.ConnectError("no")],
)
async def test_a_check_url_that_is_not_answered_with_success_is_not_saved(bad: Any):
    box = YonyouSandbox(clock=HandClock(3))
    box.pushes.transport = httpx.MockTransport(Receiver(bad))
    with pytest.raises(CheckUrlError):
        await box.subscribe(Subscription(URL))
    assert box.pushes.subscription is None


@pytest.mark.parametrize("scheme", ["signature", "msgSignature"])
@pytest.mark.parametrize("ack", ["plain", "encrypted"])
async def test_the_connectors_door_passes_the_vendors_own_test_in_every_form(
    scheme: str, ack: str, tmp_path: Path
):
    clock = HandClock(3)
    box = YonyouSandbox(clock=clock)
    bus = Log.open(tmp_path / "bus.db", clock)
    doors = Doors(
        doors_of({"yonyou": connector(box, clock, callback_ack=ack)}),
        bus.publish,
        clock,
        structlog.get_logger(),
    )
    box.pushes.transport = httpx.ASGITransport(app=doors)
    await box.subscribe(Subscription(URL, scheme))
    box.desk.seed("customer", customer(1), silent=False)
    counts = await box.pushes.flush()
    assert (counts["sent"], counts["acknowledged"], counts["retried"]) == (1, 1, 0)
    await bus.aclose()


# ------------------------------------------------------------------------------------------- deliveries


async def test_every_change_of_a_customer_is_told_by_api_and_by_people_alike():
    box, receiver = await listening()
    made = box.desk.seed("customer", customer(1), silent=False)
    box.desk.edit("customer", str(made["id"]), {"contactTel": "1"})
    for verb in ("stop", "unstop", "delete"):
        box.desk.act("customer", str(made["id"]), verb)
    await box.pushes.flush()
    told = [json.loads(one["plain"]) for one in box.pushes.log]
    prefix = "YXYBASEDOC_AA_MERCHANT_"
    assert [one["type"].removeprefix(prefix) for one in told] == [
        "INSERT",
        "UPDATE",
        "BATCH_STOP",
        "BATCH_UNSTOP",
        "DELETE",
    ]
    assert json.loads(told[0]["content"])["id"] == made["id"]
    assert len({one["eventId"] for one in told}) == len(receiver.bodies) == 5


async def test_receipts_have_no_events():
    box, receiver = await listening()
    box.desk.seed("customer", customer(1, code="C1"))
    box.desk.seed(
        "receipt", __import__("tests.contract.yonyou_stand", fromlist=["seeded"]).seeded("receipt", 1)
    )
    await box.pushes.flush()
    assert receiver.bodies == []


async def test_the_ladder_is_minutes_then_five_minutes_then_hours_until_a_day_is_over():
    box, receiver = await listening(*[httpx.Response(500)] * 100)
    box.desk.seed("customer", customer(1), silent=False)
    await due(box)
    began, waits, last = box.clock.now(), [], box.clock.now()
    while box.pushes.shown()["pending"]:
        box.clock.advance(30)
        before = len(receiver.bodies)
        await due(box)
        if len(receiver.bodies) > before:
            waits.append(round((box.clock.now() - last) / 1_000_000))
            last = box.clock.now()
    assert waits == [60] * 5 + [300] * 11 + [3600] * 23
    assert last - began <= DAY * 1_000_000
    assert box.pushes.shown()["dropped"] == 1
    assert len({body["nonce"] for body in receiver.bodies}) == len(receiver.bodies)


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="fail"), httpx.Response(500, text="success"), httpx.ReadTimeout("slow"),
               httpx.Response(200, text='{"result":"success"}'), httpx.Response(302, text="success")],
)  # fmt: skip
async def test_anything_but_the_word_in_time_is_repeated(answer: Any):
    box, receiver = await listening(answer)
    box.desk.seed("customer", customer(1), silent=False)
    counts = await box.pushes.flush()
    assert (counts["sent"], counts["retried"], counts["acknowledged"]) == (2, 1, 1)
    assert len(receiver.bodies) == 2


async def test_events_are_lost_doubled_and_overtaken_as_dialled():
    box, receiver = await listening(push_lose=1.0)
    box.desk.seed("customer", customer(1), silent=False)
    assert (await box.pushes.flush())["lost"] == 1
    box.dials.push_lose, box.dials.push_duplicate = 0.0, 1.0
    box.desk.seed("customer", customer(2), silent=False)
    await box.pushes.flush()
    assert len(receiver.bodies) == 2
    box.dials.push_duplicate, box.dials.push_reorder = 0.0, 0.5
    for number in range(3, 30):
        box.desk.seed("customer", customer(number), silent=False)
    await box.pushes.flush()
    codes = [json.loads(json.loads(one["plain"])["content"])["code"] for one in box.pushes.log][2:]
    assert sorted(codes) == [f"CRM-{number:06}" for number in range(3, 30)]
    assert codes != sorted(codes)


@pytest.mark.parametrize("dial", ["push_tamper", "push_wrong_app"])
async def test_a_tampered_push_is_refused_by_the_connectors_door_and_repeated_until_it_is_right(
    dial: str, tmp_path: Path
):
    clock = HandClock(3)
    box = YonyouSandbox(clock=clock, dials=YonyouDials(push_auto=False))
    bus = Log.open(tmp_path / "bus.db", clock)
    doors = Doors(doors_of({"yonyou": connector(box, clock)}), bus.publish, clock, structlog.get_logger())
    box.pushes.transport = httpx.ASGITransport(app=doors)
    await box.subscribe(Subscription(URL))
    setattr(box.dials, dial, 1.0)
    box.desk.seed("customer", customer(1), silent=False)
    await due(box)
    assert doors.counts["yonyou"].accepted == 1  # the test call alone
    setattr(box.dials, dial, 0.0)
    counts = await box.pushes.flush()
    assert counts["acknowledged"] == 1
    await bus.aclose()


# ------------------------------------------------------------------------------------------- into the CRM (W5, W6, W17)


class Listening(Hub):
    """The hub of the window tests with a door, a log and the way in."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        crm = crm_schemas()
        sources = {**crm, **{f"yonyou.{name}": dict(spec.fields) for name, spec in SPEC.streams.items()}}
        path = FOLDER / "customer.in.yaml"
        mapping = compile_mapping(
            path.read_text("utf-8"), Schemas(sources, crm, load_value_maps(FOLDER)), file=str(path)
        )
        inbound = Sync(
            name="customer.in", direction="in", connection="yonyou", object="customer", stream="customer",
            kind="customer", mapping=mapping, org=ORG, mode="write", accept_window=True,
        )  # fmt: skip
        project = self.world.project
        connections = {**project.connections, "yonyou": Connection("yonyou", "yonyou", region="cn/")}
        made = type(project)(
            connections=connections, syncs={**project.syncs, "customer.in": inbound}, entities={},
            regions=project.regions, owners={}, kinds={},
        )  # fmt: skip
        self.world = World(made, {"yonyou": SPEC}, self.world.vault, self.store.epoch)
        self.bus = Log.open(folder / "bus.db", self.clock)
        self.doors = Doors(
            doors_of({"yonyou": self.connector}), self.bus.publish, self.clock, structlog.get_logger()
        )
        self.box.pushes.transport = httpx.ASGITransport(app=self.doors)
        self.box.dials.push_auto = False

    async def take_all(self) -> None:
        for number in range(await self.bus.partitions(INBOUND)):
            intake = Intake(self.store, self.world, self.bus, "test", topic=INBOUND, partition=number)
            while await intake.turn():
                pass

    def customers(self) -> list[tuple[int, Any]]:
        def look(tx: Any) -> list[Any]:
            tx.cursor.execute("SELECT version, body FROM records WHERE kind = 'customer' ORDER BY id")
            return [(version, json.loads(body)) for version, body in tx.cursor.fetchall()]

        return self.store.read_now(look)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Listening]:
    opened = Listening(tmp_path)
    await opened.box.subscribe(Subscription(URL))
    yield opened
    await opened.bus.aclose()
    opened.store.close()


async def arrived(hub: Listening) -> None:
    await hub.box.pushes.flush()
    await hub.take_all()
    await hub.run()


async def test_what_a_user_edits_there_reaches_the_crm_by_event_once_however_often_it_is_told(hub: Listening):
    hub.box.dials.push_duplicate = 1.0
    made = hub.box.desk.seed("customer", customer(1, creditCode="91350100M000100Y43"), silent=False)
    await arrived(hub)
    ((version, body),) = hub.customers()
    assert (body["name"], body["account_no"], body["uscc"]) == (
        "示例科技1号有限公司",
        "CRM-000001",
        "91350100M000100Y43",
    )
    hub.clock.at += 1_000_000
    hub.box.desk.edit("customer", str(made["id"]), {"contactTel": "021-62123457"})
    await arrived(hub)
    ((after, body),) = hub.customers()
    assert (after, body["phone"]) == (version + 1, "+862162123457")
    for _ in range(50):  # W6 on the way in: copies are one row, one read, no change
        hub.box.pushes.enqueue("x", event(eventId="evt-9", content={"id": made["id"]}))
    await arrived(hub)
    assert [found[0] for found in hub.customers()] == [after]


async def test_our_own_write_comes_back_as_an_event_and_changes_nothing(hub: Listening):
    hub.put("C-1", "customer", name="示例科技有限公司", uscc="91350100M000100Y43")
    await hub.drain(60)
    await arrived(hub)
    ((version, body),) = hub.customers()
    (kept,) = hub.box.books.rows("customer")
    assert (version, body["account_no"]) == (
        2,
        kept.body["code"],
    )  # the code it got there; nothing else came back
    hub.box.pushes.enqueue("x", event(eventId="evt-10", content={"id": kept.id}))
    await arrived(hub)
    assert [found[0] for found in hub.customers()] == [2]
    assert hub.effects() == ["customer.create"]


@pytest.mark.parametrize(
    "words", [("UPDATE", "INSERT"), ("DELETE",), ("DELETE", "INSERT"), ("BATCH_STOP", "DELETE")]
)
async def test_w17_events_in_any_order_for_objects_never_seen_end_as_the_vendor_stands(
    hub: Listening, words: Any
):
    there = hub.box.desk.seed("customer", customer(1))
    for word in words:
        for one in (there["id"], 7):
            said = event(f"YXYBASEDOC_AA_MERCHANT_{word}", eventId=f"{word}-{one}", content={"id": one})
            hub.box.pushes.enqueue(word, said)
    await arrived(hub)
    assert [body["account_no"] for _, body in hub.customers()] == ["CRM-000001"]
    assert hub.owed() == []


async def test_an_event_that_was_lost_is_made_up_by_the_poll(hub: Listening):
    hub.box.dials.push_lose = 1.0
    hub.box.desk.seed("customer", customer(1), silent=False)
    await arrived(hub)
    assert hub.customers() == []
    pages = [page async for page in hub.connector.read("customer", None, org=ORG)]
    assert [record.body["code"] for page in pages for record in page.records] == ["CRM-000001"]  # type: ignore[index,call-overload]
