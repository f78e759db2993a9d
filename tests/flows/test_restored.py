"""After a restore: writes stay stopped, what may have been sent is looked up first, and nothing is doubled."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.clock import SECOND
from hub.errors import Cause, IntegrityError
from hub.pipe import writes
from hub.pipe.decide import Send
from hub.pipe.jobs import lease
from hub.pipe.refusal import NotPossible
from hub.store import backup
from hub.store.epoch import WRITES, Stop, stop_writes
from tests.pipe_stand import Stand
from tests.restore.play import play, site
from tests.vendor import SPEC, Fate


class Restorable(Stand):
    """A stand whose store can be saved, put back, and opened for writes again."""

    def put(self, id_: str, kind: str = "customer", **fields: Any) -> str:
        return super().put(id_, kind, **({"name": f"示例{id_}", **fields} if kind == "customer" else fields))

    def save(self) -> io.BytesIO:
        kept = io.BytesIO()
        with zipfile.ZipFile(kept, "w") as archive:
            self.store.read_now(backup.dump, archive)
        return kept

    def restore(self, kept: io.BytesIO) -> None:
        with zipfile.ZipFile(kept) as archive:
            manifest = backup.read_manifest(archive, Path("kept"))
            self.store.run_now(backup.load, archive, manifest, by="operator")
        self.started()

    def started(self) -> None:
        """Go on as a process that starts now."""
        self.store.lose_power()
        self.world = replace(self.world, epoch=self.store.epoch)

    def leave(self, *, days: int = 7) -> None:
        self.store.run_now(writes.ask, by="operator", days=days)
        held = self.store.run_now(lease, WRITES, WRITES, "w", 60.0)
        assert held is not None
        self.store.run_now(writes.leave, self.world, held.fence)


@pytest.fixture(params=["memory", "postgresql"])
def stand(request: pytest.FixtureRequest) -> Iterator[Restorable]:
    url = "sqlite://" if request.param == "memory" else request.getfixturevalue("fresh_postgres_url")
    made = Restorable(*(name for name in SPEC.objects), url=url)
    yield made
    made.close()


def only(stand: Stand, *names: str) -> None:
    """Let the world write these objects alone."""
    syncs = {name: one for name, one in stand.world.project.syncs.items() if one.object in names}
    stand.world = replace(stand.world, project=replace(stand.world.project, syncs=syncs))


def test_nothing_is_sent_before_a_person_said_so(stand: Restorable) -> None:
    only(stand, "customer")
    stand.put("C-1")
    stand.restore(stand.save())
    assert stand.step() == 0
    stand.advance(3600)
    assert stand.step() == 0
    assert stand.effects("customer") == []


@pytest.mark.parametrize("waiting", [False, True])
def test_what_was_owed_at_the_backup_and_sent_since_is_found_and_not_sent_again(
    stand: Restorable, waiting: bool
) -> None:
    only(stand, "customer", "receipt")
    customer = stand.put("C-1")
    if not waiting:
        stand.run()
    stand.pay("P-1", customer)
    kept = stand.save()  # the receipt is owed, ready or waiting for its customer
    stand.drain()
    assert stand.effects("receipt") == ["save"]
    stand.restore(kept)
    stand.leave()
    stand.drain()
    assert stand.rows() == []
    assert stand.effects("receipt") == ["save"]
    assert sorted(stand.effects("customer")) == ["audit", "save", "submit"]
    assert stand.xref("customer", customer)["complete"] is not None


def test_what_nobody_sent_is_sent_once_nothing_older_can_land_any_more(stand: Restorable) -> None:
    only(stand, "receipt", "customer")
    customer = stand.put("C-1")
    stand.run()
    stand.pay("P-1", customer)
    stand.restore(stand.save())
    stand.leave()
    stand.run()
    assert stand.effects("receipt") == []  # looked up, absent, but a send before the restore may still land
    stand.drain()
    assert stand.effects("receipt") == ["save"]
    kinds = [item for item in stand.outcomes() if item == "claimed"]
    assert len(kinds) >= 2


def test_what_comes_in_again_is_found_by_the_key_it_had_before(stand: Restorable) -> None:
    """The record is lost with the restore; made again from the same object of the CRM, it has the same business key."""
    only(stand, "customer", "receipt")
    kept = stand.save()
    first = stand.put("C-1")
    stand.pay("P-1", first)
    stand.drain()
    stand.restore(kept)
    stand.leave()
    stand.advance(3 * 86_400)
    again = stand.put("C-1")
    assert again != first
    stand.pay("P-1", again)
    stand.drain()
    assert stand.effects("receipt") == ["save"]
    assert stand.effects("customer").count("save") == 1
    assert stand.rows() == []


def test_after_the_days_of_looking_a_create_is_sent_at_once(stand: Restorable) -> None:
    only(stand, "customer")
    stand.restore(stand.save())
    stand.leave(days=1)
    stand.advance(86_400 + 60)
    stand.put("C-1")
    (attempt,) = stand.claim()
    assert attempt.send is Send.FIRST


@pytest.mark.parametrize("name", ["keyed", "mail"])
def test_where_nobody_can_look_what_was_owed_is_parked_and_what_comes_later_is_sent(
    stand: Restorable, name: str
) -> None:
    only(stand, name)
    old = stand.put("C-1")
    kept = stand.save()
    stand.drain()
    assert stand.effects(name) == ["save"]
    stand.restore(kept)
    stand.leave()
    stand.run()
    row = stand.row(f"{name}.out", old)
    assert (row["state"], row["cause"]["code"]) == ("parked", Cause.DOUBT.value)
    assert row["generation"] is not None
    assert row["key"] is not None
    stand.advance(1)
    stand.put("C-2")
    stand.run()
    assert stand.effects(name) == ["save", "save"]  # C-1 before, C-2 now


def test_a_put_is_repeated_for_it_changes_nothing(stand: Restorable) -> None:
    only(stand, "card")
    record = stand.put("C-1")
    kept = stand.save()
    stand.drain()
    stand.restore(kept)
    stand.leave()
    stand.drain()
    assert stand.thing("card", record).fields["phone"] == stand.body(record)["phone"]
    assert len([t for t in stand.vendor._all("card") if not t.gone]) == 1


def test_an_open_attempt_waits_until_nothing_sent_before_the_restore_can_land(stand: Restorable) -> None:
    only(stand, "customer")
    record = stand.put("C-1")
    (attempt,) = stand.claim()
    kept = stand.save()  # under way at the backup
    stand.settle(attempt, stand.send(attempt, Fate.OK))
    stand.drain()
    stand.advance(3600)
    stand.restore(kept)
    before = stand.row("customer.out", record)
    stand.advance(60)
    stand.sweep()
    assert stand.row("customer.out", record)["state"] == "in_doubt"
    assert stand.step() == 0  # writes are stopped
    now = stand.clock.now()
    stand.leave()
    row = stand.row("customer.out", record)
    assert row["absent_after"] > max(before["absent_after"], now + 10 * SECOND)
    stand.drain()
    assert stand.effects("customer") == ["save", "submit", "audit"]


def test_a_repeat_bears_the_key_of_what_it_repeats_whatever_the_epoch(stand: Restorable) -> None:
    """The key holds the epoch: a new one in a repeat would make a second object."""
    only(stand, "keyed")
    stand.put("C-1")
    (attempt,) = stand.claim()
    result = stand.send(attempt, Fate.LOST)
    kept = stand.save()
    stand.restore(kept)
    stand.advance(20)
    stand.sweep()
    stand.leave()
    assert stand.settle(attempt, result) == 0  # an answer of the time before changes nothing
    (again,) = stand.claim()
    assert again.send is Send.REPEAT
    assert again.write is not None
    assert attempt.write is not None
    assert again.write.key == attempt.write.key
    stand.settle(again, stand.send(again))
    assert stand.effects("keyed") == ["save"]


def test_an_update_that_was_owed_does_not_overwrite_what_a_user_changed_meanwhile(stand: Restorable) -> None:
    only(stand, "customer")
    record = stand.put("C-1", street="甲路")
    stand.drain()
    stand.put("C-1", street="乙路")
    kept = stand.save()
    stand.drain()
    vendor_id = stand.xref("customer", record)["vendor_id"]
    stand.vendor.edit("customer", vendor_id, remark="用户改")
    stand.restore(kept)
    stand.leave()
    stand.drain()
    thing = stand.thing("customer", record)
    assert (thing.fields["street"], thing.fields["remark"]) == ("乙路", "用户改")
    assert thing.stage == "C"


def test_writes_that_are_open_are_not_resumed_and_a_restored_store_was_not_only_moved(
    stand: Restorable,
) -> None:
    with pytest.raises(NotPossible):
        stand.store.run_now(writes.ask, by="operator")
    stand.restore(stand.save())
    with pytest.raises(NotPossible):
        stand.store.run_now(writes.moved, by="operator")
    found = stand.store.read_now(writes.stopped)
    assert found is not None
    assert (found.why, found.asked) == (Stop.RESTORED, False)


def test_a_store_that_was_only_moved_opens_at_once_and_looks_nothing_up(stand: Restorable) -> None:
    only(stand, "customer")
    stand.put("C-1")
    stand.store.run_now(stop_writes, Stop.UNKNOWN, by="start")
    stand.started()
    assert stand.step() == 0
    stand.store.run_now(writes.moved, by="operator")
    (attempt,) = stand.claim()
    assert attempt.send is Send.FIRST


def test_stopping_twice_draws_one_epoch_and_a_stale_opener_opens_nothing(stand: Restorable) -> None:
    stand.store.run_now(stop_writes, Stop.OLDER, by="start")
    stand.started()
    epoch = stand.store.epoch
    stand.store.run_now(stop_writes, Stop.OTHER, by="start")
    assert stand.ask("SELECT epoch FROM hub")[0][0] == epoch
    stand.store.run_now(writes.ask, by="operator")
    held = stand.store.run_now(lease, WRITES, WRITES, "w", 60.0)
    assert held is not None
    with pytest.raises(IntegrityError) as refused:
        stand.store.run_now(writes.leave, stand.world, held.fence - 1)
    assert refused.value.cause is Cause.FENCED
    assert stand.store.read_now(writes.stopped) is not None


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_backup_receipts_restore_resume_doubles_nothing(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Real processes and Kingdee's sandbox; ``python -m tests.restore`` plays it with 500 receipts."""
    given = {}
    if engine == "postgresql":
        given["HUB_STORE_URL"] = request.getfixturevalue("fresh_postgres_url")
    with site(tmp_path, **given) as at:
        report = play(at, 6)
    assert report["ok"], report
    assert report["booked"] == 2 * 2 + 6 + 2
