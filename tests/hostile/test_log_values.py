"""What our log says when things go wrong with a record: what happened and where, never whose name, number or secret."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
import structlog

from hub import log as hublog
from hub.api.hooks import Door, Doors
from hub.bus import INBOUND, Log
from hub.errors import Cause, InboundRefused, Refused, TryAgain
from hub.model.record import Json
from hub.pipe import arrive as arriving
from hub.pipe import claim as claiming
from hub.pipe.intake import Intake, to_message
from hub.pipe.items import to_event
from hub.pipe.loops import Loops
from hub.pipe.work import Worker
from hub.sdk import InboundRequest, Received, Secret, SourceRecord, VendorKey
from hub.sdk.secret import Redactor
from tests.hook_site import App, FixedClock, event, wecom
from tests.pipe_stand import HandClock, NoLease, Stand
from tests.worlds import project

NAME, PHONE, STREET, SECRET = "王小明", "+8613912345678", "幸福路 7 号 302", "app-secret-8f3k2"
VALUES = (NAME, "13912345678", "幸福路", SECRET)
BODY: dict[str, Json] = {"id": "1", "name": NAME, "phone": PHONE, "street": STREET, "remark": SECRET}
LIVE = 1


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Log as the hub does, at the level that says most; hand out the lines, none of which may hold a value."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    hublog.configure(lambda: 0, level="debug", stream=out)
    hublog.mask_with(Redactor([Secret(SECRET)]))

    def read() -> list[dict[str, Any]]:
        text = out.getvalue()
        for value in (*VALUES, *(json.dumps(value)[1:-1] for value in VALUES)):
            assert value not in text
        return [json.loads(line) for line in text.splitlines()]

    yield read
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


class Site:
    """A bus, a store and a worker by hand."""

    def __init__(self) -> None:
        self.stand = Stand(made=project(("customer", "card")))
        self.bus = Log.open(None, self.stand.clock, inline=True)

    async def show(self) -> None:
        """Have the vendor's record on the bus, as a page of a read would."""
        source = SourceRecord(VendorKey("", "1"), BODY, self.stand.clock.now())
        await self.bus.publish(INBOUND, [to_message(to_event("mem", "card", source, event_id="e-1"))])

    def intakes(self) -> list[Intake]:
        return [
            Intake(self.stand.store, self.stand.world, self.bus, "w", topic=INBOUND, partition=number)
            for number in range(4)
        ]

    async def take(self) -> None:
        """Take as the process does: a turn that fails is logged and tried again."""
        loops = Loops(self.stand.clock.monotonic)
        for intake in self.intakes():
            left = [8]

            async def turn(intake: Intake = intake, left: list[int] = left) -> float:
                left[0] -= 1
                if left[0] == 0:
                    loops.stop.set()
                await intake.turn()
                return 0.0

            loops.stop.clear()
            await loops.forever("take", turn)

    async def work(self) -> None:
        worker = Worker(
            self.stand.store, self.stand.world, NoLease(self.stand.clock), "w", "mem", self.stand.connector
        )
        for _ in range(3):
            await worker.turn(LIVE, 10)

    async def close(self) -> None:
        await self.bus.aclose()
        self.stand.close()


@pytest.fixture
async def site():
    made = Site()
    yield made
    await made.close()


async def test_a_record_on_which_deciding_fails(site, lines, monkeypatch) -> None:
    def fail(_view: object, arrival: Any, *_: object) -> None:
        raise ValueError(f"cannot place {arrival.outcome}")

    monkeypatch.setattr(arriving, "decide", fail)
    await site.show()
    await site.take()
    (line,) = [line for line in lines() if line["event"].startswith("decide.bug")]
    assert (line["sync"], line["subject"]) == ("card.in", "/1")
    assert line["exception"].rstrip().endswith("ValueError")


async def test_a_record_on_which_taking_fails_again_and_again(site, lines, monkeypatch) -> None:
    run = site.stand.store.run

    async def refuse(fn: Any, *args: Any) -> Any:
        if fn.__name__ == "take" and not any(item.broken for item in args[0].items):
            raise RuntimeError(
                f"Key (name, value)=({[item.source for item in args[0].items]}) already exists"
            )
        return await run(fn, *args)

    monkeypatch.setattr(site.stand.store, "run", refuse)
    await site.show()
    await site.take()
    assert [row["state"] for row in site.stand.rows()] == ["parked"]
    (line, *_) = [line for line in lines() if line["event"] == "take.failed"]
    assert line["exception"].rstrip().endswith("RuntimeError")


async def test_a_message_that_nobody_can_read(site, lines) -> None:
    message = to_message(to_event("mem", "card", SourceRecord(VendorKey("", "1"), BODY, 0), event_id="e"))
    await site.bus.publish(INBOUND, [replace(message, body=message.body[:-1])])
    await site.take()
    assert [row["state"] for row in site.stand.rows()] == ["parked"]
    lines()


@pytest.mark.parametrize(
    "error",
    [
        Refused(f"客户“{NAME}”的手机 {PHONE} 已存在", code="11", vendor="mem", field="phone"),
        TryAgain(f"稍后再试 {NAME}", cause=Cause.UNAVAILABLE, code="-1", vendor="mem"),
        ValueError(f"bad payload {BODY}"),
    ],
    ids=["refused", "try again", "bug"],
)
async def test_a_write_that_fails(site, lines, monkeypatch, error) -> None:
    async def fail(_writes: Sequence[Any]) -> Any:
        raise error

    monkeypatch.setattr(site.stand.connector, "write", fail)
    site.stand.put("C-1", name=NAME, phone=PHONE, street=STREET)
    await site.work()
    found = lines()
    if isinstance(error, ValueError):
        assert any(line["event"].startswith("write.bug") and line["connection"] == "mem" for line in found)


async def test_a_record_on_which_rendering_fails(site, lines, monkeypatch) -> None:
    def fail(view: Any, row: Any, *_: object) -> None:
        raise KeyError(view.records[bytes.fromhex(row.subject)].body["name"])

    monkeypatch.setattr(claiming, "render", fail)
    site.stand.put("C-1", name=NAME, phone=PHONE, street=STREET)
    await site.work()
    (line, *_) = [line for line in lines() if line["event"].startswith("render.bug")]
    assert line["sync"] == "customer.out"
    assert line["exception"].rstrip().endswith("KeyError")


def _doors(receive: Callable[[InboundRequest], Received], publish: Any) -> Doors:
    door = Door(receive, {"thing": None})
    return Doors({"mem": door}, publish, FixedClock(), hublog.get_logger("hooks"))


async def _post(doors: Doors, body: bytes, name: str = "mem") -> int:
    transport = httpx.ASGITransport(app=doors)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        return (await client.post(f"/hooks/{name}?token={SECRET}", content=body)).status_code


async def test_a_callback_that_is_refused_or_breaks_the_connector(lines) -> None:
    async def published(*_: object) -> None:
        raise AssertionError

    def refuse(_request: InboundRequest) -> Received:
        raise InboundRefused(Cause.SIGNATURE, "the signature does not fit")

    def break_(request: InboundRequest) -> Received:
        raise ValueError(f"cannot read {request.body.decode()}")

    body = json.dumps(BODY, ensure_ascii=False).encode()
    assert await _post(_doors(refuse, published), body) == 401
    assert await _post(_doors(break_, published), body) == 401
    events = {line["event"]: line for line in lines()}
    assert events["hooks.refused"]["connection"] == events["hooks.bug"]["connection"] == "mem"
    assert events["hooks.bug"]["exception"].rstrip().endswith("ValueError")


async def test_a_callback_of_wecom_with_another_key(lines) -> None:
    async def published(*_: object) -> None:
        raise AssertionError

    app, clock = App(), FixedClock()
    doors = _doors(wecom(app, clock).receive, published)
    stranger = App(token="another-token-12")
    query, body = stranger.callback(event(Remark=NAME, RemarkMobiles=PHONE))
    transport = httpx.ASGITransport(app=doors)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        assert (await client.post("/hooks/mem", params=query, content=body)).status_code == 401
    text = json.dumps(lines())
    for value in (app.token, app.aes_key, stranger.token, query["msg_signature"]):
        assert value not in text
