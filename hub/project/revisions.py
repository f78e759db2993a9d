"""Texts of a project as numbered revisions: the newest one of a name is in force, whatever its file holds by now.

History only goes forward: an earlier text that is in force again is a new revision, so that the numbers tell the order
of what was in force. Whoever publishes holds one row, so that what was checked against what is in force is still so when
it becomes part of it, and acts follow one another as the publications do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from hub.project.folder import Key
from hub.project.values import ProjectFile
from hub.store import schema, sql
from hub.store.tx import Tx

__all__ = [
    "PUBLISHED",
    "Entry",
    "Overtaken",
    "Revision",
    "history",
    "numbers_in_force",
    "publish",
    "publish_revisions",
    "revision_digest",
    "revisions_in_force",
    "text_of",
    "texts_at",
]

PUBLISHED = "project.published"
"""The verb of the act that puts texts in force."""
_JOB = "project"
"""The row of `jobs` that whoever publishes holds."""

_newest = sql.query(
    "SELECT revision, digest FROM revisions WHERE kind = ? AND name = ? ORDER BY revision DESC LIMIT 1"
)
_insert = sql.bulk_insert(schema.revisions, "kind name revision text digest at act")
_texts = sql.bulk_select(schema.revisions, "kind name revision text", key="kind name revision")
_acts = sql.bulk_select(schema.revisions, "kind name revision act", key="kind name revision")
_of_name = sql.query(
    "SELECT r.revision, r.digest, r.at, r.act, a.actor, a.body FROM revisions r LEFT JOIN acts a ON a.id = r.act "
    "WHERE r.kind = ? AND r.name = ? ORDER BY r.revision DESC"
)
_new_job = sql.bulk_insert(
    schema.jobs, "name kind spec position due fence progress state act", on_conflict="nothing", key="name"
)
_hold_job = sql.bulk_select(schema.jobs, "name", key="name", lock="update")


class Revision(NamedTuple):
    """One text with its number."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Nothing was published: these texts got a new revision since what was to be published was checked against them."""

    names: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a text's history, without the text.

    ``actor`` and ``note`` are of its act: None where that has left the store by now, or where nobody gave a note.
    ``back_to``: the revision whose text this one repeats, if it is a rollback. ``by``: the texts it was published with, if
    its own did not change: a mapping gets a new number when a value map it uses does.
    """

    number: int
    digest: str
    at: int
    act: int
    actor: str | None
    note: str | None
    back_to: int | None
    by: tuple[Key, ...]


def revision_digest(text: str) -> str:
    """Return the digest of a text, 32 hex digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def numbers_in_force(tx: Tx) -> dict[Key, int]:
    """Return the newest revision of every text there is."""
    tx.cursor.execute("SELECT kind, name, max(revision) FROM revisions GROUP BY kind, name")
    return {(kind, name): int(revision) for kind, name, revision in tx.cursor.fetchall()}


def revisions_in_force(tx: Tx) -> dict[Key, Revision]:
    """Return every text that is in force with its number."""
    found = _texts(tx, [(*key, number) for key, number in sorted(numbers_in_force(tx).items())])
    return {(kind, name): Revision(number, text) for kind, name, number, text in found}


def texts_at(tx: Tx, act: int) -> dict[Key, str]:
    """Return every text that was in force once an act was done."""
    every = [(*key, number) for key, last in numbers_in_force(tx).items() for number in range(1, last + 1)]
    then: dict[Key, int] = {}
    for kind, name, number, published in _acts(tx, every):
        if published <= act:
            then[kind, name] = max(number, then.get((kind, name), 0))
    found = _texts(tx, [(*key, number) for key, number in then.items()])
    return {(kind, name): text for kind, name, _, text in found}


def publish_revisions(
    tx: Tx, project_files: Sequence[ProjectFile], *, actor: str = "start"
) -> dict[Key, int]:
    """Put in force what a start finds: a text that nobody published yet, and a hub.yaml that changed.

    Nothing of the kind: nothing is written, no act. Two processes that start at the same moment write the same number:
    one of them is rerun and finds nothing to do.

    Returns:
        (kind, name) -> the revision in force, for every file whose text it is; others were published meanwhile.
    """
    if _to_start(tx, project_files)[1]:
        _hold(tx)
    numbers, new = _to_start(tx, project_files)
    if new:
        _store(tx, new, actor, {})
    return numbers


def _to_start(
    tx: Tx, project_files: Sequence[ProjectFile]
) -> tuple[dict[Key, int], list[tuple[ProjectFile, int]]]:
    numbers: dict[Key, int] = {}
    new = []
    for file in project_files:
        key = (file.kind, file.name)
        found = _newest(tx, *key)
        last, digest = found[0] if found else (0, "")
        numbers[key] = int(last)
        if digest == revision_digest(file.text):
            continue
        if found and file.kind != "project":
            del numbers[key]
        else:
            numbers[key] += 1
            new.append((file, numbers[key]))
    return numbers, new


def publish(
    tx: Tx, files: Sequence[ProjectFile], checked: Mapping[Key, int], *, actor: str, body: Mapping[str, Any]
) -> dict[Key, int] | Overtaken:
    """Put texts in force, all or none, in one transaction with their act.

    Args:
        tx: the transaction.
        files: each becomes the next revision of its name, changed or not.
        checked: (kind, name) -> the revision in force of every text, as these texts were checked with.
        actor: who publishes.
        body: what the act tells beside the numbers: ``note``, and what :class:`Entry` reads.

    Returns:
        (kind, name) -> the number each text got, or what was published since the check: then nothing was.
    """
    _hold(tx)
    now = numbers_in_force(tx)
    if now != dict(checked):
        return Overtaken(tuple(sorted(key for key in now if now[key] != checked.get(key))))
    rows = [(file, now.get((file.kind, file.name), 0) + 1) for file in files]
    _store(tx, rows, actor, body)
    return {(file.kind, file.name): number for file, number in rows}


def _hold(tx: Tx) -> None:
    """Hold the one row that everybody holds who publishes."""
    _new_job(tx, [(_JOB, "project", "null", "null", 0, 0, "null", "due", 0)])
    _hold_job(tx, [(_JOB,)])


def _store(tx: Tx, rows: Sequence[tuple[ProjectFile, int]], actor: str, body: Mapping[str, Any]) -> None:
    _insert(
        tx,
        [
            (file.kind, file.name, number, file.text, revision_digest(file.text), tx.now, tx.act)
            for file, number in rows
        ],
    )
    told = [[file.kind, file.name, number] for file, number in rows]
    tx.journal(actor, PUBLISHED, {"revisions": told, **body})


def text_of(tx: Tx, kind: str, name: str, number: int) -> str:
    """Return the text of a revision that is there."""
    ((_, _, _, text),) = _texts(tx, [(kind, name, number)])
    return str(text)


def history(tx: Tx, kind: str, name: str) -> list[Entry]:
    """Return the revisions of a text, the newest, which is in force, first; none: there is no such text."""
    return [_entry(kind, name, row) for row in _of_name(tx, kind, name)]


def _entry(kind: str, name: str, row: tuple[Any, ...]) -> Entry:
    number, digest, at, act, actor, text = row
    body = orjson.loads(text) if text is not None else {}
    named = tuple((str(one), str(other)) for one, other in body.get("texts", ()))
    follows = bool(named) and (kind, name) not in named
    back_to = None if follows else body.get("back_to")
    return Entry(int(number), digest, at, act, actor, body.get("note"), back_to, named if follows else ())
