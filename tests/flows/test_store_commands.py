"""`hub backup`, `restore` and `migrate` as an operator runs them: what is refused, what stays, what goes along."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hub.clock import SystemClock
from hub.store import Store
from hub.store.schema import SCHEMA
from tests.flows.cli_site import Site, make_site
from tests.stores import ask, new_store_url


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = make_site(tmp_path)
    made.customer()
    return made


def bus_of(data: Path, *bodies: str) -> None:
    """Stand in for the log: a SQLite file."""
    file = sqlite3.connect(data / "bus.db")
    file.execute("CREATE TABLE IF NOT EXISTS events (body TEXT)")
    file.executemany("INSERT INTO events VALUES (?)", [(body,) for body in bodies])
    file.commit()
    file.close()


def bodies(data: Path) -> list[str]:
    file = sqlite3.connect(data / "bus.db")
    try:
        return [body for (body,) in file.execute("SELECT body FROM events")]
    finally:
        file.close()


def test_a_backup_is_private_whole_and_never_overwritten(site: Site) -> None:
    bus_of(site.data, "a")
    file = site.folder / "b.zip"
    told = site.json("backup", str(file))
    assert told["ok"]
    assert file.stat().st_mode & 0o777 == 0o600
    names = set(zipfile.ZipFile(file).namelist())
    assert {"manifest.json", "tables/owed.jsonl", "bus.db"} <= names
    assert "key" not in names  # it opens everything else
    assert "is there already" in site.cli("backup", str(file), code=2)
    assert sorted(path.name for path in site.folder.glob("b.zip*")) == ["b.zip"]
    assert site.ask("SELECT verb FROM acts ORDER BY id DESC")[0] == ("backup",)


def test_nothing_can_be_backed_up_where_nothing_is(tmp_path: Path) -> None:
    empty = make_site(tmp_path)
    empty.cli("backup", str(tmp_path / "b.zip"), code=2)
    assert not (tmp_path / "b.zip").exists()


def test_a_restore_replaces_data_only_when_told_to_and_keeps_the_newer_log(site: Site) -> None:
    bus_of(site.data, "a")
    file = site.folder / "b.zip"
    site.cli("backup", str(file))
    site.customer("C-2", name="另一家示例有限公司", uscc="91350100M000100Y43")
    bus_of(site.data, "b")
    assert "--force" in site.cli("restore", str(file), code=1)
    assert len(site.ask("SELECT id FROM records")) == 2
    assert "Writes are stopped" in site.cli("restore", str(file), "--force")
    assert len(site.ask("SELECT id FROM records")) == 1
    assert bodies(site.data) == ["a", "b"]
    assert site.json("writes", "show")["why"] == "restored"


def test_a_lost_disk_comes_back_with_the_key_file_and_not_without(site: Site) -> None:
    bus_of(site.data, "a")
    file, key = site.folder / "b.zip", (site.data / "key").read_bytes()
    site.cli("backup", str(file))
    shutil.rmtree(site.data)
    said = site.cli("restore", str(file), code=2)
    assert "key file" in said
    assert not (site.data / "hub.db").exists()
    (site.data / "key").write_bytes(key)
    (site.data / "key").chmod(0o600)
    site.cli("restore", str(file))
    assert bodies(site.data) == ["a"]
    assert len(site.ask("SELECT id FROM records")) == 1


def test_a_key_file_of_another_store_is_refused_before_anything_changes(site: Site) -> None:
    file = site.folder / "b.zip"
    site.cli("backup", str(file))
    other = make_site(_made(site.folder / "other"))
    other.customer("C-9")
    assert "not in" in other.cli("restore", str(file), "--force", code=1)
    assert other.json("writes", "show") == {"writes": "open"}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("text", [b"", b"PK\x03\x04", b"no zip"])
def test_what_is_no_backup_is_refused(site: Site, text: bytes) -> None:
    file = site.folder / "odd.zip"
    file.write_bytes(text)
    assert "odd.zip" in site.cli("restore", str(file), "--force", code=2)
    assert len(site.ask("SELECT id FROM records")) == 1


def test_the_heads_of_the_lost_time_are_kept_as_evidence(site: Site) -> None:
    (site.data / "seals.log").write_text('{"last_seq": 9, "note": "x"}\n')
    site.cli("backup", str(site.folder / "b.zip"))
    site.cli("restore", str(site.folder / "b.zip"), "--force")
    assert not (site.data / "seals.log").exists()
    assert len(list(site.data.glob("seals-*.log"))) == 1


# migrate ------------------------------------------------------------------------------------------------------


def _migrating(folder: Path, url: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    return subprocess.Popen(
        [sys.executable, "-m", "hub", "migrate", "--output", "json"], cwd=folder, stdout=subprocess.PIPE, text=True,
        env={**clean, "HUB_STORE_URL": url, "HUB_DATA_DIR": str(folder / "data"), "LANG": "C.UTF-8"},
    )  # fmt: skip


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_several_processes_that_migrate_at_once_make_one_store(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = new_store_url(engine, request)
    processes = [_migrating(tmp_path, url) for _ in range(3)]
    told = [json.loads(one.communicate(timeout=120)[0]) for one in processes]
    assert [one.returncode for one in processes] == [0, 0, 0]
    assert {one["schema"] for one in told} == {SCHEMA}
    assert any(one["was"] is None for one in told)
    store = Store.open(url, SystemClock())
    assert store.run_now(ask, "SELECT count(*) FROM hub") == [(1,)]
    store.close()


def test_a_migration_says_what_it_did_and_refuses_a_newer_store(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    assert site.json("migrate") == {"ok": True, "was": None, "schema": SCHEMA}
    assert site.json("migrate") == {"ok": True, "was": SCHEMA, "schema": SCHEMA}
    file = sqlite3.connect(site.data / "hub.db")
    file.execute("UPDATE hub SET schema = 7")  # a newer program's expand step: this one may work on it
    file.commit()
    file.close()
    assert "schema 7" in site.cli("migrate", code=2)
    assert site.ask("SELECT schema FROM hub") == [(7,)]


def test_a_hub_starts_on_what_migrate_made(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    site.cli("migrate")
    assert site.json("status")["writes"] == "open"


def test_secrets_come_out_of_files_and_an_unchanged_one_makes_no_version(site: Site, tmp_path: Path) -> None:
    folder = _made(tmp_path / "secrets")
    (folder / "k3_app_id").write_text("first\n")
    (folder / "api_token").write_text("token")
    files = [str(folder / name) for name in ("k3_app_id", "api_token")]
    assert site.json("secrets", "load", *files)["stored"] == {"k3-app-id": 1, "api-token": 1}
    assert site.json("secrets", "load", *files)["stored"] == {}
    (folder / "k3_app_id").write_text("second")
    assert site.json("secrets", "load", *files)["stored"] == {"k3-app-id": 2}
    (folder / "api_token").write_text("")
    assert "empty" in site.cli("secrets", "load", *files, code=2)
    assert "nowhere" in site.cli("secrets", "load", str(folder / "nowhere"), code=2)
    names = [(one["name"], one["version"]) for one in site.json("secrets", "list")["secrets"]]
    assert sorted(names) == [("api-token", 1), ("k3-app-id", 1), ("k3-app-id", 2)]
