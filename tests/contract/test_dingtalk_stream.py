"""Stream mode: events are acknowledged once they are durable; sockets rotate, die, freeze, and come back (6.2)."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from connectors.dingtalk import DingTalkConnector
from connectors.dingtalk.sandbox.acts import (
    Comment,
    Decide,
    Delete,
    Leave,
    PutDepartment,
    PutTemplate,
    PutUser,
    Raw,
    Start,
)
from hub.sdk import Received
from hub.sdk.kit import Bench
from tests.contract.dingtalk_stand import CONTRACT, CUSTOM, SELLER, Taken, bench, dingtalk, listening

VALUES = {"客户名称": "示例", "合同金额": "5000"}


def start(bench: Bench) -> str:
    (made,) = bench.stand.sandbox.act(Start(act="start", process_code=CONTRACT, userid=SELLER, values=VALUES))
    return str(made["id"])


async def connected(bench: Bench, count: int = 1) -> None:
    async with asyncio.timeout(20):
        while bench.stand.sandbox.gateway.counts["connected"] < count:
            await asyncio.sleep(0.01)


async def pending(bench: Bench, count: int = 0) -> None:
    async with asyncio.timeout(20):
        while bench.stand.sandbox.gateway.pending != count:
            await asyncio.sleep(0.01)


async def test_an_approval_started_and_agreed_in_the_app_is_heard_as_hints(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        one = start(bench)
        bench.stand.sandbox.act(Decide(act="agree", id=one, userid="manager"))
        await taken.until(lambda: len(taken.events) >= 6)
        await pending(bench)
    assert {key for _, key in taken.events} == {f"{CONTRACT}/{one}"}
    assert {word for word, _ in taken.events} == {"bpms_instance_change", "bpms_task_change"}
    assert all(event.record is None for received in taken.received for event in received.events)
    counts = bench.stand.sandbox.gateway.counts
    assert counts["acknowledged"] == counts["pushed"] == len(taken.events)


async def test_people_and_departments_are_heard_too_and_an_education_tree_is_not(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        bench.stand.sandbox.act(
            PutUser(act="put_user", userid="new", name="新人", dept_id_list=[210]), PutUser(act="put_user", userid="new", title="经理"),
            Leave(act="leave", userid="new"), PutDepartment(act="put_department", dept_id=300, name="新部门"),
            PutDepartment(act="put_department", dept_id=-9, name="班级"), Raw(act="raw_event", type="label_user_change", fields={}),
        )  # fmt: skip
        await pending(bench)
    assert sorted(taken.events) == [
        ("org_dept_create", "300"), ("user_add_org", "new"), ("user_leave_org", "new"), ("user_modify_org", "new"),
    ]  # fmt: skip


async def test_another_template_another_corp_and_what_nobody_knows_are_acknowledged_without_effect(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        box.act(Start(act="start", process_code=CUSTOM, userid=SELLER, values={}))
        box.act(Raw(act="raw_event", type="event_of_next_year", fields={"a": 1}))
        box.act(
            Raw(
                act="raw_event",
                type="bpms_instance_change",
                fields={"processInstanceId": "a/b", "processCode": CONTRACT},
            )
        )
        box.act(Raw(act="raw_event", type="bpms_instance_change", fields={}))
        box.gateway._corp_id = "ding-of-somebody-else"
        start(bench)
        await pending(bench)
    assert taken.events == []
    assert box.gateway.counts["redelivered"] == 0


async def test_an_isv_form_of_the_event_with_its_own_spelling_is_taken(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    fields = {"processInstanceId": "isv-1", "processCode": CONTRACT, "type": "finsh", "finshTime": 1}
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        bench.stand.sandbox.act(Raw(act="raw_event", type="workflow_instance_change_app", fields=fields))
        await taken.until(lambda: taken.events)
    assert taken.events == [("workflow_instance_change_app", f"{CONTRACT}/isv-1")]


async def test_what_the_bus_did_not_take_is_said_to_come_later_and_comes_again(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    box.dials.stream_redeliver_seconds = 0.2
    taken = Taken()
    async with listening(dingtalk, taken):
        await connected(bench)
        taken.failing = 2
        box.act(PutUser(act="put_user", userid="new", name="新人"))
        await taken.until(lambda: taken.events)
        await pending(bench)
    assert taken.events == [("user_add_org", "new")]
    assert (box.gateway.counts["later"], box.gateway.counts["acknowledged"]) == (2, 1)
    assert [ack["data"]["status"] for ack in box.gateway.acks if "status" in ack["data"]] == [
        "LATER",
        "LATER",
        "SUCCESS",
    ]


async def test_a_bus_that_hangs_makes_it_later_before_the_vendor_gives_up(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    class Hanging(Taken):
        async def emit(self, received: Received) -> None:
            if received.events and self.failing:
                self.failing -= 1
                await asyncio.Event().wait()
            await super().emit(received)

    box = bench.stand.sandbox
    box.dials.stream_redeliver_seconds = 0.1
    taken = Hanging()
    async with listening(dingtalk, taken):
        await connected(bench)
        taken.failing = 1
        box.act(
            PutUser(act="put_user", userid="slow", name="慢"),
            PutUser(act="put_user", userid="fast", name="快"),
        )
        await taken.until(lambda: {key for _, key in taken.events} == {"slow", "fast"})
    assert taken.events[0][1] == "fast"  # one that hangs keeps no other back
    assert box.gateway.counts["later"] == 1


async def test_a_crash_between_publish_and_acknowledgement_repeats_and_loses_nothing(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    box.dials.stream_ack_seconds, box.dials.stream_redeliver_seconds = 0.2, 0.1
    taken = Taken()

    async def dies(received: Received) -> None:
        await taken.emit(received)
        if received.events:
            box.gateway.cut()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(dingtalk.listen(dies))
    await connected(bench)
    box.act(PutUser(act="put_user", userid="new", name="新人"))
    await taken.until(lambda: taken.events)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    second = bench.connect()
    async with listening(second, taken):  # type: ignore[arg-type]
        await taken.until(lambda: len(taken.events) == 2)
        await pending(bench)
    first, repeat = [event for received in taken.received for event in received.events]
    assert first.id == repeat.id


async def test_a_ping_is_answered_with_what_it_held(bench: Bench, dingtalk: DingTalkConnector) -> None:
    bench.stand.sandbox.dials.stream_ping_seconds = 0.05
    async with listening(dingtalk, Taken()):
        async with asyncio.timeout(10):
            while not bench.stand.sandbox.gateway.acks:
                await asyncio.sleep(0.01)
    ack = bench.stand.sandbox.gateway.acks[0]
    assert ack["code"] == 200
    assert set(ack["data"]) == {"opaque"}


async def test_at_a_rotation_the_new_socket_is_open_before_the_old_one_ends_and_nothing_is_lost(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    box.dials.stream_drain_seconds = 2.0
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        assert await box.gateway.disconnect() == 1
        await connected(bench, 2)
        assert len(box.gateway.connections) == 2  # the old one is drained while the new one works
        box.act(PutUser(act="put_user", userid="new", name="新人"))
        await taken.until(lambda: taken.events)
        async with asyncio.timeout(10):
            while len(box.gateway.connections) != 1:
                await asyncio.sleep(0.02)
        assert box.gateway.counts["connected"] == 2
    assert taken.health in ([], [("stream", False)])  # a rotation is no failure


async def test_an_event_pushed_on_the_old_socket_while_it_drains_is_still_acknowledged(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        old = box.gateway.connections[0]
        await box.gateway.disconnect()
        await connected(bench, 2)
        frame = orjson.loads(box.gateway._frame(box_event(), "late-1"))
        await box.gateway._send(old, orjson.dumps(frame).decode())
        await taken.until(lambda: taken.events)
        async with asyncio.timeout(10):
            while not any(ack["messageId"] == "late-1" for ack in box.gateway.acks):
                await asyncio.sleep(0.01)


def box_event() -> Any:
    from connectors.dingtalk.sandbox.pushing import Event

    return Event("e1", "user_add_org", {"userId": ["late"], "timeStamp": "1"}, 1)


async def test_an_abrupt_end_is_followed_by_another_socket(bench: Bench, dingtalk: DingTalkConnector) -> None:
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        bench.stand.sandbox.gateway.cut()
        await connected(bench, 2)
        bench.stand.sandbox.act(PutUser(act="put_user", userid="new", name="新人"))
        await taken.until(lambda: taken.events)


async def test_a_socket_that_is_silent_is_taken_for_dead(bench: Bench) -> None:
    box = bench.stand.sandbox
    box.dials.stream_frozen, box.dials.stream_ack_seconds, box.dials.stream_redeliver_seconds = True, 0.2, 0.1
    dingtalk = bench.connect(bench.stand.settings() | {"stream_idle": 1.0})
    taken = Taken()
    async with listening(dingtalk, taken):  # type: ignore[arg-type]
        await connected(bench)
        box.act(PutUser(act="put_user", userid="new", name="新人"))
        await connected(bench, 3)  # TCP was never closed: the watchdog alone did this
        assert box.gateway.counts["frozen"] > 0
        box.dials.stream_frozen = False
        await taken.until(lambda: taken.events)
    assert ("stream", True) not in taken.health  # a quiet app is not told as a failure


async def test_a_frame_that_cannot_be_read_ends_nothing(bench: Bench, dingtalk: DingTalkConnector) -> None:
    bench.stand.sandbox.dials.stream_malformed = True
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        bench.stand.sandbox.act(PutUser(act="put_user", userid="new", name="新人"))
        await taken.until(lambda: taken.events)
        await pending(bench)
    assert bench.stand.sandbox.gateway.counts["connected"] == 1
    assert any(entry["event"] == "dingtalk.stream.unreadable" for entry in bench.log.entries)


async def test_duplicates_and_shuffled_events_are_the_same_hints(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    box.dials.seed, box.dials.push_duplicate, box.dials.push_reorder, box.dials.push_reorder_seconds = (
        7,
        0.5,
        0.5,
        0.05,
    )
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        ids = [start(bench) for _ in range(20)]
        for one in ids:
            box.act(Comment(act="comment", id=one, userid=SELLER, text="看一下"), Decide(act="agree", id=one))
        await pending(bench)
    assert {key for _, key in taken.events} == {f"{CONTRACT}/{one}" for one in ids}


async def test_used_up_pushes_are_told_to_people_and_taken_back_when_they_come_again(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        box.dials.monthly_pushes = 1
        one = start(bench)
        await taken.until(lambda: ("pushes", True) in taken.health)
        box.dials.monthly_pushes = 0
        box.act(Delete(act="delete", id=one))
        await taken.until(lambda: ("pushes", False) in taken.health)
    assert "20001" in next(
        one.health.en for one in taken.received if one.health and one.health.about == "pushes"
    )


async def test_a_refused_credential_is_told_and_tried_again_after_a_while(bench: Bench) -> None:
    taken = Taken()
    dingtalk = bench.connect(bench.stand.wrong_key(bench.stand.settings()))
    async with listening(dingtalk, taken):  # type: ignore[arg-type]
        await taken.until(lambda: taken.health)
        await asyncio.sleep(0.3)
    assert taken.health == [("stream", True)]
    assert "authFailed" in next(one.health.en for one in taken.received if one.health)
    assert bench.stand.sandbox.gateway.counts["tickets"] == 0


async def test_a_form_that_changed_is_read_anew(bench: Bench, dingtalk: DingTalkConnector) -> None:
    box = bench.stand.sandbox
    await dingtalk._templates.get(CONTRACT)
    async with listening(dingtalk, Taken()):
        await connected(bench)
        box.act(PutTemplate(act="put_template", process_code=CONTRACT, status="INVALID"))
        await pending(bench)
    assert (await dingtalk._templates.get(CONTRACT)).status == "INVALID"


async def test_a_ticket_is_good_once_and_for_a_while(bench: Bench, dingtalk: DingTalkConnector) -> None:
    url, _ = await dingtalk._client.open_stream([{"type": "EVENT", "topic": "*"}])
    async with dingtalk.tools.http.socket(url, heartbeat=30):
        await connected(bench)
    for again in (url, (await dingtalk._client.open_stream([{"type": "EVENT", "topic": "*"}]))[0]):
        bench.stand.sandbox.advance(91)
        with pytest.raises(Exception, match="socket"):
            async with dingtalk.tools.http.socket(again, heartbeat=30) as socket:
                await socket.receive(5)
    assert bench.stand.sandbox.gateway.counts["bad_tickets"] == 2


async def test_a_gateway_that_names_an_address_outside_the_rules_is_not_gone_to(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    from hub.errors import ConnectionDown

    for url in (
        "wss://169.254.169.254/connect?ticket=t",
        "ws://example.com/connect",
        "file:///etc/passwd",
        "wss://u:p@x/",
    ):
        with pytest.raises(ConnectionDown) as caught:
            async with dingtalk.tools.http.socket(url, heartbeat=30):
                pass
        assert "ticket=t" not in str(caught.value)


async def test_a_gateway_that_tells_every_socket_to_go_at_once_is_not_stormed(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    box = bench.stand.sandbox
    box.dials.stream_drain_seconds = 0.0
    async with listening(dingtalk, Taken()):
        await connected(bench)
        for _ in range(80):
            await box.gateway.disconnect()
            await asyncio.sleep(0.02)
        assert 3 <= box.gateway.counts["connected"] <= 8


async def test_many_at_once_are_all_acknowledged(bench: Bench, dingtalk: DingTalkConnector) -> None:
    async with listening(dingtalk, Taken()) as taken:
        await connected(bench)
        for number in range(300):
            bench.stand.sandbox.act(PutUser(act="put_user", userid=f"p{number}", name="人"))
        await taken.until(lambda: len({key for _, key in taken.events}) == 300)
        await pending(bench)
    assert bench.stand.sandbox.gateway.counts["redelivered"] == 0
