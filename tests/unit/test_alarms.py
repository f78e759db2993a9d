"""What stands still is told: a loop that fails for ever, and a position in the form of an earlier version is read."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson

from hub.clock import SECOND
from hub.pipe.alarms import alarms, not_started, note_alarms, note_started
from hub.pipe.loops import FAILURES, Loops
from hub.pipe.read import preview_stream
from hub.pipe.share import Pool, Share
from hub.pipe.work import wake_removed
from tests.pipe_stand import Stand
from tests.reading_site import CHANGED, ReadingSite
from tests.worlds import with_mode

POOL = Pool("once", ("once:sweep",))


async def test_a_loop_that_fails_again_and_again_raises_an_alarm_until_it_succeeds(monkeypatch) -> None:
    loops, seen = Loops(lambda: 0.0), []
    monkeypatch.setattr(loops, "pause", lambda seconds: asyncio.sleep(0))

    async def turn() -> float:
        seen.append(dict(loops.alarms))
        if len(seen) <= FAILURES:
            raise KeyError("sweep")
        if len(seen) == FAILURES + 2:
            loops.stop.set()
        return 0.0

    await asyncio.wait_for(loops.forever("read x", turn), 10)
    assert seen == [{}] * FAILURES + [{"read x": "KeyError: 'sweep'"}, {}]


async def test_the_alarms_of_a_process_are_shown_while_it_is_a_member_and_keep_their_beginning() -> None:
    stand = Stand("customer")
    share = Share(stand.store, stand.clock, "h:1", [POOL])
    await share.turn()
    began = stand.clock.at
    stand.store.run_now(note_alarms, "h:1", {"read x": "KeyError: 'sweep'"})
    stand.clock.at += SECOND
    stand.store.run_now(note_alarms, "h:1", {"read x": "KeyError: 'sweep'", "seal": "?"})
    found = [(one.holder, one.about, one.since) for one in stand.store.read_now(alarms)]
    assert found == [("h:1", "read x", began), ("h:1", "seal", began + SECOND)]
    stand.store.run_now(note_alarms, "h:1", {"seal": "?"})
    assert [one.about for one in stand.store.read_now(alarms)] == ["seal"]
    await share.leave()
    assert stand.store.read_now(alarms) == []
    assert stand.ask("SELECT count(*) FROM jobs WHERE kind = 'alarm'") == [(0,)]
    stand.close()


def test_a_connection_that_did_not_start_is_noted_until_the_next_good_start() -> None:
    stand = Stand("customer")
    began = stand.clock.at
    stand.store.run_now(note_started, "h:1", ["mem"], {"wecom": "token: is not set"})
    stand.clock.at += SECOND
    stand.store.run_now(note_started, "h:2", ["mem"], {"wecom": "token: is not set"})
    down = stand.store.read_now(not_started, ["mem", "wecom"])
    assert {name: (one.text, one.since) for name, one in down.items()} == {
        "wecom": ("token: is not set", began)
    }
    stand.store.run_now(note_started, "h:3", ["mem", "wecom"], {})
    assert stand.store.read_now(not_started, ["mem", "wecom"]) == {}
    stand.close()


async def test_a_position_of_an_earlier_version_is_read_on_from() -> None:
    site = ReadingSite(CHANGED)
    site.add(3)
    await site.read()
    done = {"done": 3, "of": 3}
    for old in ({"cursor": done}, {"cursor": done, "sweep": None, "page": 7}):
        site.connector.asked.clear()
        site.stand.store.run_now(_put_back, orjson.dumps(old).decode())
        assert (await site.read()).done
        assert site.connector.asked == [done]
    site.stand.store.run_now(_put_back, orjson.dumps({"cursor": done}).decode())
    stand = site.stand
    assert (await preview_stream(stand.store, stand.world, site.sync, site.connector)).done
    await site.aclose()


async def test_a_cut_read_of_an_earlier_version_begins_anew() -> None:
    site = ReadingSite(CHANGED)
    site.add(3)
    old = {"cursor": {"done": 2, "of": 3}, "sweep": {"id": "x", "started": site.stand.clock.at}}
    await site.read()
    site.stand.store.run_now(_put_back, orjson.dumps(old).decode())
    report = await site.read()
    assert (report.done, report.complete, report.published) == (True, True, 3)
    await site.aclose()


def _put_back(tx, position: str) -> None:
    tx.cursor.execute("UPDATE jobs SET position = ? WHERE name = 'read:customer.in'", (position,))


def test_what_waits_for_the_mode_of_a_sync_that_was_removed_becomes_a_dead_letter() -> None:
    stand = Stand("customer")
    stand.world = replace(stand.world, project=with_mode(stand.world.project, "customer.out", "observe"))
    stand.put("C-1", name="one")
    stand.run()
    assert stand.row("customer.out")["waits_for"] == "mode:customer.out"
    stand.store.run_now(wake_removed, stand.world)
    assert stand.row("customer.out")["state"] == "waiting"
    left = {name: one for name, one in stand.world.project.syncs.items() if name != "customer.out"}
    stand.world = replace(stand.world, project=replace(stand.world.project, syncs=left))
    stand.store.run_now(wake_removed, stand.world)
    stand.run()
    row = stand.row("customer.out")
    assert (row["state"], row["cause"]["code"]) == ("parked", "settings")
    stand.close()
