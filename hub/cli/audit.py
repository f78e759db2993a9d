"""``hub audit``: verify that the trail is as it was sealed, and export it for an auditor."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from hub import wiring
from hub.audit.archive import files, whole_trail
from hub.audit.seal import Signer
from hub.audit.verify import Report, Unreadable, verify
from hub.cli.command import add, group
from hub.cli.screen import plain
from hub.cli.session import NOT_FOUND, OK, PROBLEM, Failure, Session
from hub.errors import HubError
from hub.store.tx import Tx

__all__ = ["check", "export", "register"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "audit")
    add(made, lang, check, "verify", key="help.audit.verify")
    add(made, lang, export, "export", key="help.audit.export")


def check(
    session: Session,
    file: Annotated[Path | None, typer.Argument(help="opt.file", metavar="FILE")] = None,
    *,
    public_key: Annotated[Path | None, typer.Option("--public-key", help="opt.public_key")] = None,
    heads: Annotated[Path | None, typer.Option("--heads", help="opt.heads")] = None,
) -> int:
    """Verify a store or an export, as the single-file verifier does."""
    folder = session.settings.data_dir
    key = public_key or folder / wiring.PUBLIC_KEY
    if file is None and heads is None and (folder / wiring.HEADS).exists():
        heads = folder / wiring.HEADS
    if file is None and session.settings.store_url is None and not files(session.settings.archive_path):
        file = folder / "hub.db"
    try:
        report = verify(file, key, heads) if file else _verify_exported(session, key, heads)
    except (HubError, Unreadable, OSError) as error:
        raise Failure(str(error), NOT_FOUND) from error
    _tell(session, report)
    return PROBLEM if report.damage else OK


def _verify_exported(session: Session, key: Path, heads: Path | None) -> Report:
    """Another engine's store, or one that acts have left, is verified by its export: what the verifier reads is the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        with session.hub() as hub, path.open("w", encoding="utf-8", newline="\n") as out:
            hub.store.read_now(_write, out.write, session.settings.archive_path)
            signer = None if key.exists() else hub.store.read_now(Signer.known, hub.vault)
        if signer is not None and key == session.settings.data_dir / wiring.PUBLIC_KEY:
            key = Path(folder) / wiring.PUBLIC_KEY  # a host where nobody seals: the store knows who does
            signer.publish_key(key)
        return verify(path, key, heads)


def _tell(session: Session, report: Report) -> None:
    damage = report.damage
    if session.as_json:
        told = {"ok": damage is None, "first": report.first, "last": report.last, "seals": report.seals,
                "unsealed": report.unsealed}  # fmt: skip
        found = {name: getattr(damage, name, None) for name in ("kind", "seq", "act")} if damage else None
        session.screen.json({**told, "damage": found and {**found, "text": str(damage)}})
    elif damage is None:
        session.screen.line(
            session.text(
                "audit_ok", first=report.first, last=report.last, seals=report.seals, unsealed=report.unsealed
            )
        )
    else:
        session.screen.warn(
            session.text("audit_damaged", seq=damage.seq, kind=damage.kind, text=plain(damage))
        )


def export(
    session: Session,
    *,
    to: Annotated[Path | None, typer.Option("--to", help="opt.to", metavar="FILE")] = None,
) -> None:
    """Write all acts and seals as JSON lines that the single-file verifier reads."""
    with session.hub() as hub:
        if to is None:
            hub.store.read_now(_write, sys.stdout.write, session.settings.archive_path)
            sys.stdout.flush()
            return
        try:
            # half a trail must not look like a whole one
            part = to.with_name(f"{to.name}.{os.getpid()}.part")
            try:
                with part.open("w", encoding="utf-8", newline="\n") as out:
                    lines = hub.store.read_now(_write, out.write, session.settings.archive_path)
                    out.flush()
                    os.fsync(out.fileno())
                hub.clock.crash_point("export.written")
                part.replace(to)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise Failure(f"{to}: {error.strerror}") from error
        except HubError as error:
            raise Failure(str(error), NOT_FOUND) from error
    if session.as_json:
        session.screen.json({"ok": True, "lines": lines, "file": str(to)})
    else:
        session.screen.line(session.text("exported", lines=lines, file=plain(to)))


def _write(tx: Tx, write: Callable[[str], object], archive: Path) -> int:
    count = 0
    for line in whole_trail(tx, archive):
        write(line)
        count += 1
    return count
