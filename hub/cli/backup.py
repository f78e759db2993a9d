"""``hub backup`` and ``hub restore``: the store as one file, and back again with writes stopped."""

from __future__ import annotations

import os
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from hub import wiring
from hub.cli.command import add
from hub.cli.screen import instant, local, plain
from hub.cli.session import PROBLEM, USAGE, Failure, Session
from hub.clock import SystemClock
from hub.errors import Cause, IntegrityError, SettingsError
from hub.settings import Settings
from hub.store import Store, Tx
from hub.store.backup import Manifest, dump, is_empty, load, read_manifest
from hub.store.secrets import bind_vault
from hub.vault import Vault

__all__ = ["backup", "register", "restore"]

BUS = "bus.db"
BESIDE = ("audit.key", wiring.PUBLIC_KEY)
"""Files of the data folder that go along: the signing key is sealed under the key file, the public one is public."""


def register(app: typer.Typer, lang: str) -> None:
    """Add the commands."""
    add(app, lang, backup, "backup")
    add(app, lang, restore, "restore")


def backup(
    session: Session, file: Annotated[Path, typer.Argument(help="opt.backup", metavar="FILE")]
) -> None:
    """Write a consistent snapshot of the store, the embedded log and the public keys; the hub may run meanwhile."""
    settings = session.settings
    if settings.store_url is None and not (settings.data_dir / "hub.db").exists():
        raise SettingsError(session.text("no_store"), file=str(settings.data_dir))
    if file.exists():
        raise Failure(session.text("backup_there", file=plain(file)), USAGE)
    clock = SystemClock()
    store = Store.open(settings.store_address, clock)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        store.run_now(bind_vault, Vault.open(settings.key_path, clock))
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b") as out:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                manifest = store.read_now(dump, archive)
                _add_files(archive, settings, part)
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
        store.run_now(_noted, session.actor, file.name, manifest)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
        store.close()
    _tell(session, manifest, "backup_done", file=plain(file))


def _add_files(archive: zipfile.ZipFile, settings: Settings, part: Path) -> None:
    """Add the log (copied after the store: it holds at least what the positions there say) and the signing keys."""
    for name in BESIDE:
        if (settings.data_dir / name).exists():
            archive.write(settings.data_dir / name, name)
    bus = settings.data_dir / BUS
    if settings.kafka_bootstrap is not None or not bus.exists():
        return
    copy = part.with_suffix(".bus")
    try:
        with (
            closing(sqlite3.connect(f"{bus.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        archive.write(copy, BUS)
    finally:
        copy.unlink(missing_ok=True)


def _noted(tx: Tx, by: str, name: str, manifest: Manifest) -> None:
    item = {"outcome": "saved", "file": name, "acts": manifest.last_seq, "rows": sum(manifest.rows.values())}
    tx.journal(by, "backup", {"items": [item]})


def restore(
    session: Session,
    file: Annotated[Path, typer.Argument(help="opt.backup", metavar="FILE")],
    *,
    force: Annotated[bool, typer.Option("--force", help="opt.force")] = False,
    new_bus: Annotated[bool, typer.Option("--new-bus", help="opt.new_bus")] = False,
) -> None:
    """Put a backup in the place of everything the store holds; a new epoch is drawn and writes stay stopped."""
    settings = session.settings
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        raise SettingsError(f"is no whole backup: {error}", file=str(file)) from error
    with archive:
        manifest = read_manifest(archive, file)
        clock = SystemClock()
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        vault = _vault(session, settings, manifest, clock)
        store = Store.open(settings.store_address, clock)
        try:
            if not force and not store.read_now(is_empty):
                raise Failure(session.text("restore_full", store=store.url), PROBLEM)
            no_bus = _put_files(archive, settings)
            store.run_now(load, archive, manifest, by=session.actor, new_bus=new_bus or no_bus)
        finally:
            store.close()
        _set_aside(settings.data_dir / wiring.HEADS, manifest)
    again = Store.open(settings.store_address, clock)
    try:
        again.run_now(bind_vault, vault)
    finally:
        again.close()
    _tell(session, manifest, "restore_done", at=local(manifest.at))
    if not session.as_json:
        session.screen.line(session.text("writes_next"))


def _vault(session: Session, settings: Settings, manifest: Manifest, clock: SystemClock) -> Vault:
    """Open the key file; a new one would open nothing of the backup."""
    if not settings.key_path.exists():
        raise SettingsError(session.text("restore_key"), file=str(settings.key_path))
    vault = Vault.open(settings.key_path, clock)
    lacking = sorted(set(manifest.key_ids) - vault.key_ids)
    if lacking:
        raise IntegrityError(Cause.KEY, f"the backup needs {', '.join(lacking)}, not in {settings.key_path}")
    return vault


def _put_files(archive: zipfile.ZipFile, settings: Settings) -> bool:
    """Bring back what the data folder lacks; what is there is newer. Returns True if the embedded log is lost."""
    members = set(archive.namelist())
    wanted = [*BESIDE, *([BUS] if settings.kafka_bootstrap is None else [])]
    for name in wanted:
        target = settings.data_dir / name
        if name in members and not target.exists():
            fresh = target.with_name(f"{name}.{os.getpid()}.new")
            with os.fdopen(os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as out:
                with archive.open(name) as source:
                    while part := source.read(1 << 20):
                        out.write(part)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(target)
    return settings.kafka_bootstrap is None and not (settings.data_dir / BUS).exists()


def _set_aside(heads: Path, manifest: Manifest) -> None:
    """Keep the heads of the time that is lost as evidence; those of the store as it is now are handed out anew."""
    if heads.exists():
        heads.replace(heads.with_name(f"seals-{manifest.epoch[:8]}-{manifest.last_seq}.log"))


def _tell(session: Session, manifest: Manifest, key: str, **known: object) -> None:
    rows = sum(manifest.rows.values())
    if session.as_json:
        session.screen.json({"ok": True, "rows": rows, "acts": manifest.last_seq, "at": instant(manifest.at)})
    else:
        session.screen.line(session.text(key, rows=rows, acts=manifest.last_seq, **known))
