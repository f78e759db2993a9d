"""``hub mapping rollback``: the way back to an earlier text."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hub import registry
from hub.cli.command import add
from hub.cli.mapping_life import (
    Name,
    Note,
    in_force,
    key_named,
    published_lines,
    published_told,
    refuse,
    require_note,
    shown,
    tell_overtaken,
)  # fmt: skip
from hub.cli.mapping_repair import repaired
from hub.cli.session import NOT_FOUND, OK, USAGE, Failure, Session
from hub.project import ProjectInvalid
from hub.project.folder import Key
from hub.project.load import texts_written
from hub.project.opening import PROJECT
from hub.project.publishing import prepare, put_in_force
from hub.project.revisions import Entry, Overtaken, history, revision_digest, text_of

__all__ = ["register", "rollback"]


def register(made: typer.Typer, lang: str) -> None:
    """Add the command to the group ``mapping``."""
    add(made, lang, rollback, "rollback", key="help.mapping.rollback")


def rollback(
    session: Session,
    name: Name,
    *,
    to: Annotated[int | None, typer.Option("--to", help="opt.text.to", min=1)] = None,
    note: Note = "",
    repair: Annotated[bool, typer.Option("--repair", help="opt.repair")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="opt.repair.yes")] = False,
) -> int:
    """Put an earlier revision in force again; with ``repair`` what the later ones wrote is undone too."""
    require_note(session, note)
    if yes and not repair:
        raise Failure(session.text("repair_yes_alone"), USAGE)
    with session.store() as store:
        found = in_force(session, store)
        files = texts_written(session.project, {key: one.text for key, one in found.items()})
        key = key_named(session, name, {key: files.get(key) for key in found if key[0] != PROJECT})
        entries = store.read_now(history, *key)
        target = _target(session, key, entries, to, repair=repair)
        text = store.read_now(text_of, *key, target)
        try:
            made = prepare(
                session.project, registry.specs(), found, {key: text}, {key: f"{key[1]} ({target})"}
            )
        except ProjectInvalid as error:
            return refuse(session, list(map(str, error.problems)))
        told: dict[str, Any] = {"ok": True, "published": []}
        if revision_digest(text) == entries[0].digest:
            said = [session.text("life_same", name=shown(key), number=entries[0].number)]
        else:
            numbers = store.run_now(put_in_force, made, session.actor, note, target)
            if isinstance(numbers, Overtaken):
                return tell_overtaken(session, numbers)
            file = _write_back(session, key, target, was=found[key].text, text=made.files[0].text)
            said = [*published_lines(session, made, numbers), file]
            told = {"ok": True, "published": published_told(made, numbers), "back_to": target, "file": file}
    if session.as_json:
        more = {"repair": repaired(session, key, target, note=note, yes=yes)} if repair else {}
        session.screen.json(told | more)
        return OK
    for line in said:
        session.screen.line(line)
    if repair:
        repaired(session, key, target, note=note, yes=yes)
    return OK


def _target(session: Session, key: Key, entries: Sequence[Entry], to: int | None, *, repair: bool) -> int:
    """Return the revision to go back to: the one named, else the one before, if it is clear which that is.

    A repair may follow a rollback that is done: it is of that one.
    """
    newest, name = entries[0], shown(key)
    if to is not None:
        if all(one.number != to for one in entries):
            raise Failure(session.text("life_no_revision", name=name, number=to), NOT_FOUND)
        return to
    if newest.back_to is not None and repair:
        return newest.back_to
    if newest.back_to is not None:
        known = {"name": name, "number": newest.number, "back_to": newest.back_to}
        raise Failure(session.text("life_rollback_of_rollback", **known), USAGE)
    if len(entries) == 1:
        raise Failure(session.text("life_no_earlier", name=name))
    if newest.by:
        names = ", ".join(map(shown, newest.by))
        raise Failure(session.text("life_other_text", name=name, number=newest.number, names=names), USAGE)
    return entries[1].number


def _write_back(session: Session, key: Key, target: int, *, was: str, text: str) -> str:
    """Let the file hold the text too that is in force again, unless somebody works on it; say what became of it."""
    file = texts_written(session.project, {key: was}).get(key)
    if file is None:
        return session.text("life_file_gone", name=shown(key))
    path = session.project / file
    try:
        if path.read_bytes() != was.encode():
            return session.text("life_file_left", file=file)
        _replace(path, text)
    except OSError as error:
        return session.text("life_file_failed", file=file, why=error.strerror or str(error))
    return session.text("life_file_written", file=file, number=target)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all; it keeps its mode."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as made:
            made.write(text.encode())
            os.fsync(made.fileno())
        Path(name).chmod(path.stat().st_mode & 0o777)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
