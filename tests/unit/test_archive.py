"""Old acts leave the store only once a file that verifies holds them; file and store together are the whole trail."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hub.audit import Report, Signer
from hub.audit.archive import (
    Range,
    digest,
    drop_some,
    exported_to,
    files,
    keep_file,
    note_export,
    old_range,
    whole_trail,
    write_range,
)
from hub.audit.seal import heads_after, seal
from hub.audit.verify import verify
from hub.clock import SystemClock
from hub.errors import Cause, HubError, IntegrityError
from hub.pipe.archiving import DAY, LOOK, Archiving, verified
from hub.pipe.outlet import PUBLISH
from hub.store import Store, Tx, schema, sql
from hub.vault import Vault
from tests.flows.cli_site import make_site
from tests.stores import ask, new_store_url

TODAY = 20_000 * DAY + DAY // 2
insert_connection = sql.bulk_insert(schema.connections, "name state failures act")
insert_job = sql.bulk_insert(schema.jobs, "name kind spec position due fence progress state act")


class Calendar(SystemClock):
    """A wall clock that a test sets."""

    at = TODAY

    def now(self) -> int:
        return self.at


@dataclass(frozen=True)
class Site:
    """A store whose acts are ten days old, five, and of today: 6 under 3 seals each, and what archives them."""

    store: Store
    clock: Calendar
    archiving: Archiving
    signer: Signer
    folder: Path

    @property
    def key(self) -> Path:
        return self.folder / "audit.pub"

    def ask(self, text: str) -> list[tuple]:
        return self.store.read_now(ask, text)

    def whole(self, name: str = "whole.jsonl") -> Path:
        path = self.folder / name
        path.write_text(
            "".join(self.store.read_now(lambda tx: list(whole_trail(tx, self.archiving.folder)))), "utf-8"
        )
        return path

    def report(self) -> Report:
        return verify(self.whole(), self.key, None)


def act(tx: Tx, number: int) -> None:
    insert_connection(tx, [(f"c{number}", "open", 0, tx.act)])
    tx.journal(
        "test",
        "connection.open",
        {"items": [{"outcome": "made", "n": number}]},
        [bytes(15) + bytes([number])],
    )


def publish_all(tx: Tx) -> None:
    insert_job(tx, [(PUBLISH, PUBLISH, "null", '{"seq":1000000}', 0, 0, "null", "due", tx.act)])
    tx.journal("test", "job", {"items": []})


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path):
    clock = Calendar()
    store = Store.open(new_store_url(request.param, request), clock, inline=True)
    signer = Signer.in_memory(clock)
    signer.publish_key(tmp_path / "audit.pub")
    for days in (10, 5, 0):
        clock.at = TODAY - days * DAY
        for number in range(6):
            store.run_now(act, days * 10 + number)
        while store.run_now(seal, signer, 2):
            pass
    store.run_now(publish_all)
    archiving = Archiving(store, clock, "me", tmp_path / "archive", 7, verified(tmp_path / "audit.pub"))
    yield Site(store, clock, archiving, signer, tmp_path)
    store.close()


async def test_what_is_old_is_exported_verified_and_dropped_and_the_whole_trail_still_verifies(
    site: Site,
) -> None:
    before = site.report()
    assert await site.archiving.turn() == 1.0
    assert await site.archiving.turn() == LOOK
    assert files(site.archiving.folder) == [Range(1, 6)]
    path = site.archiving.folder / Range(1, 6).file
    assert verify(path, site.key) == Report(1, 6, 3, 0), "by itself"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert site.ask("SELECT min(seq) FROM acts") == [(7,)]
    assert site.ask("SELECT min(first_seq) FROM seals") == [(7,)]
    assert site.ask("SELECT count(*) FROM touched WHERE act NOT IN (SELECT id FROM acts)") == [(0,)]
    assert site.ask("SELECT count(*) FROM connections") == [(18,)], (
        "rows stay; acts that stamped them are in the file"
    )
    while site.store.run_now(seal, site.signer):
        pass
    after = site.report()
    assert (before.damage, after.damage) == (None, None)
    assert (after.first, after.last >= before.last, after.seals > before.seals) == (1, True, True)
    (body,) = site.ask("SELECT body FROM acts WHERE verb = 'audit.exported'")[0]
    assert json.loads(body)["items"][0]["file"] == path.name


async def test_heads_that_left_long_ago_are_found_in_the_archive(site: Site, tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    lines = [json.dumps({"last_seq": seq, "note": note}) for seq, note in site.store.read_now(heads_after, 0)]
    heads.write_text("\n".join(lines) + "\n")
    await site.archiving.turn()
    assert verify(site.whole(), site.key, heads).damage is None


async def test_the_second_file_follows_on_the_first(site: Site) -> None:
    await site.archiving.turn()
    site.clock.at += 5 * DAY
    await site.archiving.turn()
    assert files(site.archiving.folder) == [Range(1, 6), Range(7, 12)]
    assert site.report().damage is None


async def test_the_newest_seal_and_what_nobody_was_told_of_stay(site: Site) -> None:
    far = TODAY + 100 * DAY
    newest = site.ask("SELECT max(last_seq) FROM seals")[0][0]
    assert site.store.read_now(old_range, far, 10**9) == Range(1, newest - 2)
    assert site.store.read_now(old_range, far, 9) == Range(1, 8)
    assert site.store.read_now(old_range, far, 1) is None
    assert site.store.read_now(old_range, 0, 10**9) is None


async def test_nothing_is_dropped_while_the_file_does_not_verify(site: Site, monkeypatch) -> None:
    async def damaged(path: Path) -> Range:
        text = path.read_text("utf-8")
        path.write_text(text.replace('\\"n\\":101', '\\"n\\":999'), "utf-8")
        assert path.read_text("utf-8") != text
        return await site.archiving.verified(path)

    with pytest.raises(IntegrityError) as caught:
        await replace(site.archiving, verified=damaged).turn()
    assert caught.value.cause is Cause.SEAL
    assert "does not verify" in str(caught.value)
    assert site.ask("SELECT min(seq) FROM acts") == [(1,)]
    assert site.store.read_now(exported_to) == 0
    assert files(site.archiving.folder) == []


async def test_a_file_of_other_acts_is_not_taken_for_these(site: Site) -> None:
    async def fewer(path: Path) -> Range:
        return Range(1, 4)

    with pytest.raises(IntegrityError, match="not 1 to 6"):
        await replace(site.archiving, verified=fewer).turn()
    assert site.ask("SELECT min(seq) FROM acts") == [(1,)]


async def test_a_folder_with_another_history_is_left_alone(site: Site) -> None:
    site.archiving.folder.mkdir()
    (site.archiving.folder / Range(1, 6).file).write_text("of a store that was restored")
    with pytest.raises(IntegrityError, match="move it away"):
        await site.archiving.turn()
    assert site.ask("SELECT min(seq) FROM acts") == [(1,)]


class Dies(Exception):
    """The process was killed here."""


@pytest.mark.parametrize("point", ["archive.written", "archive.noted", "archive.dropping"])
async def test_a_process_that_dies_at_any_point_loses_nothing_and_the_next_one_ends_it(
    site: Site, point: str
) -> None:
    class Mortal(Calendar):
        def crash_point(self, name: str) -> None:
            if name == point:
                raise Dies

    with pytest.raises(Dies):
        await replace(site.archiving, clock=Mortal()).turn()
    assert site.report().damage is None
    site.clock.at += DAY
    for _ in range(3):
        await site.archiving.turn()
    assert files(site.archiving.folder) == [Range(1, 6)]
    assert site.ask("SELECT min(seq) FROM acts") == [(7,)]
    assert site.report().damage is None


async def test_a_file_that_was_lost_before_its_acts_were_dropped_stops_the_dropping(site: Site) -> None:
    class Mortal(Calendar):
        def crash_point(self, name: str) -> None:
            if name == "archive.noted":
                raise Dies

    with pytest.raises(Dies):
        await replace(site.archiving, clock=Mortal()).turn()
    shutil.rmtree(site.archiving.folder)
    with pytest.raises(IntegrityError, match="is missing; nothing was dropped"):
        await site.archiving.turn()
    assert site.ask("SELECT min(seq) FROM acts") == [(1,)]


async def test_without_the_archive_the_trail_is_not_whole(site: Site) -> None:
    await site.archiving.turn()
    shutil.rmtree(site.archiving.folder)
    with pytest.raises(HubError, match="begins with act 1 is missing"):
        site.whole()


async def test_an_act_changed_in_the_archive_is_named(site: Site) -> None:
    await site.archiving.turn()
    path = site.archiving.folder / Range(1, 6).file
    path.write_text(path.read_text("utf-8").replace('\\"n\\":103', '\\"n\\":999'), "utf-8")
    damage = site.report().damage
    assert damage is not None
    assert (damage.kind, damage.seq) == ("changed", 4)


async def test_a_row_stamped_with_an_act_that_is_nowhere_is_a_stray(site: Site) -> None:
    await site.archiving.turn()
    site.store.run_now(lambda tx: insert_connection(tx, [("stray", "open", 0, 987_654)]))
    damage = site.report().damage
    assert damage is not None
    assert (damage.kind, damage.act) == ("stray", 987_654)


def test_only_what_was_exported_can_be_deleted(site: Site) -> None:
    for table in ("acts", "seals"):
        with pytest.raises(Exception, match="append-only"):
            site.store.run_now(ask, f"DELETE FROM {table}")


def test_the_command_line_reads_file_and_store_as_one_trail(tmp_path: Path) -> None:
    command = make_site(tmp_path)
    command.customer()
    with command.hub() as hub:
        signer = Signer.open(hub.store, hub.vault, command.data)
        while hub.store.run_now(seal, signer, 1):
            pass
        hub.store.run_now(publish_all)
        hub.store.run_now(seal, signer)
        wanted = hub.store.read_now(old_range, 2**62, 10**9)
        assert wanted is not None
        folder = command.data / "audit-archive"
        folder.mkdir()
        hub.store.read_now(write_range, wanted, folder / "made")
        path = keep_file(folder / "made", wanted)
        hub.store.run_now(note_export, wanted, digest(path))
        while hub.store.run_now(drop_some, wanted.last):
            pass
        hub.store.run_now(seal, signer)
    assert command.ask("SELECT min(seq) FROM acts")[0][0] > 1
    told = command.json("audit", "verify")
    assert (told["ok"], told["first"]) == (True, 1)
    command.cli("audit", "export", "--to", str(tmp_path / "all.jsonl"))
    assert command.json("audit", "verify", str(tmp_path / "all.jsonl"))["ok"] is True
    assert command.json("audit", "verify", str(command.data / "hub.db"), code=1)["ok"] is False
    next((command.data / "audit-archive").glob("acts-*.jsonl")).unlink()
    assert "is missing" in command.cli("audit", "export", "--to", str(tmp_path / "less.jsonl"), code=3)
