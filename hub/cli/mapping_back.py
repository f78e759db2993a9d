"""``hub mapping rollback``: the way back to an earlier text."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub import registry
from hub.cli.command import add
from hub.cli.mapping_life import (
    Name,
    Note,
    in_force,
    key_named,
    refuse,
    require_note,
    shown,
    tell_overtaken,
    tell_published,
)  # fmt: skip
from hub.cli.session import NOT_FOUND, OK, PROBLEM, USAGE, Failure, Session
from hub.project import ProjectInvalid
from hub.project.folder import Key
from hub.project.load import texts_written
from hub.project.opening import PROJECT
from hub.project.publishing import Publication, prepare, put_in_force
from hub.project.revisions import Entry, Overtaken, history, revision_digest, text_of

if TYPE_CHECKING:
    from hub.store.engine import Store

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
) -> int:
    """Put an earlier revision in force again."""
    require_note(session, note)
    with session.store() as store:
        found = in_force(session, store)
        files = texts_written(session.project, {key: one.text for key, one in found.items()})
        key = key_named(session, name, {key: files.get(key) for key in found if key[0] != PROJECT})
        entries = store.read_now(history, *key)
        target = _target(session, key, entries, to)
        text = store.read_now(text_of, *key, target)
        try:
            made = prepare(
                session.project, registry.specs(), found, {key: text}, {key: f"{key[1]} ({target})"}
            )
        except ProjectInvalid as error:
            return refuse(session, list(map(str, error.problems)))
        if revision_digest(text) == entries[0].digest:
            _say_same(session, key, entries[0].number)
        elif not _go_back(session, store, key, made, target=target, note=note, now=found[key].text):
            return PROBLEM
    return OK


def _say_same(session: Session, key: Key, number: int) -> None:
    if session.as_json:
        session.screen.json({"ok": True, "published": []})
    else:
        session.screen.line(session.text("life_same", name=shown(key), number=number))


def _target(session: Session, key: Key, entries: Sequence[Entry], to: int | None) -> int:
    """Return the revision to go back to: the one named, else the one before, if it is clear which that is."""
    newest, name = entries[0], shown(key)
    if to is not None:
        if all(one.number != to for one in entries):
            raise Failure(session.text("life_no_revision", name=name, number=to), NOT_FOUND)
        return to
    if newest.back_to is not None:
        known = {"name": name, "number": newest.number, "back_to": newest.back_to}
        raise Failure(session.text("life_rollback_of_rollback", **known), USAGE)
    if len(entries) == 1:
        raise Failure(session.text("life_no_earlier", name=name))
    if newest.by:
        names = ", ".join(map(shown, newest.by))
        raise Failure(session.text("life_other_text", name=name, number=newest.number, names=names), USAGE)
    return entries[1].number


def _go_back(
    session: Session, store: Store, key: Key, made: Publication, *, target: int, note: str, now: str
) -> bool:
    """Publish the earlier text and write it back; False: somebody else was quicker, and nothing was done."""
    numbers = store.run_now(put_in_force, made, session.actor, note, target)
    if isinstance(numbers, Overtaken):
        tell_overtaken(session, numbers)
        return False
    said = _write_back(session, key, target, was=now, text=made.files[0].text)
    tell_published(session, made, numbers, back_to=target, file=said)
    if not session.as_json:
        session.screen.line(said)
    return True


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
