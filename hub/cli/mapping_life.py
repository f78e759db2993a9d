"""``hub mapping publish | history``: what is in force, who put it there and why."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub import registry
from hub.cli.command import add
from hub.cli.screen import instant, local, plain
from hub.cli.session import NOT_FOUND, OK, PROBLEM, USAGE, Failure, Session
from hub.errors import HubError
from hub.mapping.problems import Problem, nearest
from hub.project import ProjectInvalid, revisions_in_force
from hub.project.folder import Key
from hub.project.publishing import Publication, cases_failed, drafts_of, prepare, put_in_force, read_texts
from hub.project.revisions import Entry, Overtaken, Revision, history

if TYPE_CHECKING:
    from hub.store.engine import Store

__all__ = [
    "Name",
    "Note",
    "drafts",
    "in_force",
    "key_named",
    "publish",
    "published_lines",
    "published_told",
    "refuse",
    "register",
    "require_note",
    "show_history",
    "shown",
    "tell_drafts",
    "tell_overtaken",
    "tell_published",
]  # fmt: skip

Found = Mapping[Key, Revision]
Name = Annotated[str, typer.Argument(help="opt.text.names", metavar="NAME")]
Note = Annotated[str, typer.Option("--note", help="opt.text.note")]


def register(made: typer.Typer, lang: str) -> None:
    """Add the commands to the group ``mapping``."""
    add(made, lang, publish, "publish", key="help.mapping.publish")
    add(made, lang, show_history, "history", key="help.mapping.history")


def publish(
    session: Session,
    names: Annotated[list[str] | None, typer.Argument(help="opt.text.names", metavar="NAME")] = None,
    *,
    note: Note = "",
    all_: Annotated[bool, typer.Option("--all", help="opt.text.all")] = False,
) -> int:
    """Put texts of the folder in force."""
    require_note(session, note)
    with session.store() as store:
        found = in_force(session, store)
        files, changed = drafts_of(session.project, found)
        keys = _chosen(session, names or [], all_=all_, known=files, found=found, changed=changed)
        if not keys:
            return _tell_none(session, names or [], found, files)
        try:
            texts = read_texts(session.project, {key: files[key] for key in keys})
            made = prepare(session.project, registry.specs(), found, texts, files)
            _require_used(session, made)
        except ProjectInvalid as error:
            return refuse(
                session, [*map(str, error.problems), *_hints(session, error.problems, found, files)]
            )
        if failed := cases_failed(session.project, made):
            return refuse(session, failed)
        numbers = store.run_now(put_in_force, made, session.actor, note)
    if isinstance(numbers, Overtaken):
        return tell_overtaken(session, numbers)
    tell_published(session, made, numbers)
    return OK


def require_note(session: Session, note: str) -> None:
    """Refuse what nobody gave a reason for."""
    if not note.strip():
        raise Failure(session.text("life_note"), USAGE)


def in_force(session: Session, store: Store) -> Found:
    """Return what is in force; before the first start nothing is."""
    found = store.read_now(revisions_in_force)
    if not found:
        raise Failure(session.text("life_never"))
    return found


def _chosen(
    session: Session,
    names: Sequence[str],
    *,
    all_: bool,
    known: Mapping[Key, str],
    found: Found,
    changed: Sequence[Key],
) -> list[Key]:
    """Return what is to be published: of what was named, that which is not in force as it is."""
    if bool(names) == all_:
        listed = ", ".join(map(shown, changed)) or "-"
        raise Failure(session.text("life_which", drafts=listed), USAGE)
    keys = list(changed) if all_ else [key_named(session, name, known) for name in names]
    return [key for key in dict.fromkeys(keys) if key in changed or key not in found]


def _require_used(session: Session, made: Publication) -> None:
    named = {one.mapping.name for one in made.project.syncs.values()}
    for kind, name in made.changed:
        if kind == "mapping" and name not in named:
            raise Failure(session.text("life_unused", name=name))


def key_named(session: Session, name: str, known: Mapping[Key, Any]) -> Key:
    """Return the text that a person names: by its name, by kind and name, or by the path of its file."""
    kind, sign, rest = name.partition(":")
    found = [key for key in known if key[1] == name or (sign and key == (kind, rest))]
    if not found:
        where = Path(name).absolute()
        root = session.project.absolute()
        found = [key for key, file in known.items() if isinstance(file, str) and root / file == where]
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(f"{plain(name)}: {', '.join(f'{kind}:{one}' for kind, one in found)}?", USAGE)
    near = nearest(name, [one for _, one in known])
    hint = f" ({near}?)" if near else ""
    raise Failure(session.text("not_there", what=plain(name)) + hint, NOT_FOUND)


def shown(key: Key) -> str:
    """Return the words by which a text is named: those of hub.yaml, and for a field file with its kind."""
    kind, name = key
    return name if kind in ("mapping", "value_map") else f"{kind}:{name}"


def _hints(
    session: Session, problems: Sequence[Problem], found: Found, files: Mapping[Key, str]
) -> list[str]:
    """Say which files that are not in force would mend a problem: a new table that a mapping asks for."""
    asked = "\n".join(one.message for one in problems)
    return [
        session.text("life_lies_there", file=file, name=shown(key))
        for key, file in files.items()
        if key not in found and key[0] == "value_map" and repr(key[1]) in asked
    ]


def _tell_none(session: Session, names: Sequence[str], found: Found, files: Mapping[Key, str]) -> int:
    if session.as_json:
        session.screen.json({"ok": True, "published": []})
        return OK
    for name in names:
        key = key_named(session, name, files)
        session.screen.line(session.text("life_same", name=shown(key), number=found[key].number))
    if not names:
        session.screen.line(session.text("life_nothing"))
    return OK


def drafts(session: Session) -> list[Key]:
    """Return what lies in the folder and is not in force; without a store, or before the first start, nothing."""
    with contextlib.suppress(HubError), session.store() as store:
        found = store.read_now(revisions_in_force)
        return drafts_of(session.project, found)[1] if found else []
    return []


def tell_drafts(session: Session, keys: Sequence[Key]) -> None:
    """Say which texts of the folder nothing uses until they are published."""
    for key in keys:
        session.screen.line(session.text("draft", name=shown(key)), style="yellow")


def refuse(session: Session, problems: Sequence[str]) -> int:
    """Tell the problems; nothing was published."""
    if session.as_json:
        session.screen.json({"ok": False, "problems": list(problems)})
    else:
        for problem in problems:
            session.screen.warn(problem, style="red")
        session.screen.warn(session.text("life_problems", count=len(problems)))
    return PROBLEM


def tell_overtaken(session: Session, met: Overtaken) -> int:
    """Tell that somebody else was quicker."""
    said = session.text("life_overtaken", names=", ".join(map(shown, met.names)))
    if session.as_json:
        session.screen.json(
            {"ok": False, "error": said, "published_meanwhile": [list(key) for key in met.names]}
        )
    else:
        session.screen.warn(said)
    return PROBLEM


def tell_published(session: Session, made: Publication, numbers: Mapping[Key, int]) -> None:
    """Tell what is in force now."""
    if session.as_json:
        session.screen.json({"ok": True, "published": published_told(made, numbers)})
        return
    for line in published_lines(session, made, numbers):
        session.screen.line(line)


def published_told(made: Publication, numbers: Mapping[Key, int]) -> list[dict[str, Any]]:
    """Return what a program is told of what is in force now."""
    return [
        {"kind": kind, "name": name, "revision": number, "changed": (kind, name) in made.changed}
        for (kind, name), number in numbers.items()
    ]


def published_lines(session: Session, made: Publication, numbers: Mapping[Key, int]) -> list[str]:
    """Return what a person is told of it."""
    lines = [
        session.text(
            "life_published" if key in made.changed else "life_follows", name=shown(key), number=number
        )
        for key, number in numbers.items()
    ]
    return [*lines, session.text("life_taken_up")]


def show_history(session: Session, name: Name) -> None:
    """Show the revisions of a text, the newest first."""
    with session.store() as store:
        key = key_named(session, name, in_force(session, store))
        entries = store.read_now(history, *key)
    if session.as_json:
        session.screen.json({"kind": key[0], "name": key[1], "revisions": [
            {"revision": one.number, "at": instant(one.at), "by": one.actor, "note": one.note, "digest": one.digest,
             "act": one.act, "in_force": one is entries[0], "back_to": one.back_to, "because_of": [list(by) for by in one.by]}
            for one in entries
        ]})  # fmt: skip
        return
    heads = [session.text(f"head.{head}") for head in ("revision", "at", "by", "note", "digest")]
    lines = [
        (f"{one.number} {session.text('life_in_force')}" if one is entries[0] else one.number, local(one.at)[:19],
         one.actor or "-", _why(session, one), one.digest[:12])
        for one in entries
    ]  # fmt: skip
    session.screen.table(heads, lines, whole=(0, 1))


def _why(session: Session, one: Entry) -> str:
    parts = [one.note or ""]
    if one.back_to is not None:
        parts.append(session.text("life_back_to", number=one.back_to))
    if one.by:
        parts.append(session.text("life_by", names=", ".join(map(shown, one.by))))
    return " · ".join(part for part in parts if part)
