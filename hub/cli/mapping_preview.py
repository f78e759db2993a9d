"""``hub mapping preview``: what the draft makes of real records, a sample or a case; personal values are masked."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from hub.cli.command import add
from hub.cli.mapping_trial import (
    Chosen,
    Trial,
    mapping_named,
    problems_told,
    require_used,
    result_json,
    result_text,
    value_text,
)
from hub.cli.screen import plain
from hub.cli.session import OK, PROBLEM, USAGE, Failure, Session
from hub.errors import SettingsError
from hub.mapping import Compiled, Context, Left, case_of
from hub.model.record import MISSING, Json, Missing
from hub.pipe.shadow import Given, Result, Value, outcome_of, part_of
from hub.pipe.shadow_masks import Mask
from hub.pipe.world import business_key
from hub.project import ProjectInvalid
from hub.project.drafts import cases_file, draft_files
from hub.wiring import Hub

__all__ = ["follow", "preview", "register", "stamp"]

OFTEN = 0.05
"""Seconds between two looks at the files."""


def register(made: typer.Typer, lang: str) -> None:
    """Add the command to the group ``mapping``."""
    add(made, lang, preview, "preview", key="help.mapping.preview")


def preview(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.trial.name", metavar="NAME")],
    *,
    record: Annotated[str, typer.Option("--record", help="opt.trial.record")] = "",
    sample: Annotated[Path | None, typer.Option("--sample", help="opt.trial.sample")] = None,
    case: Annotated[str, typer.Option("--case", help="opt.trial.case")] = "",
    n: Annotated[int, typer.Option("--n", help="opt.trial.n", min=1, max=1_000)] = 5,
    read: Annotated[bool, typer.Option("--read", help="opt.trial.read")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="opt.trial.watch")] = False,
) -> int:
    """Show what the draft makes of records."""
    if sum(map(bool, (record, sample, case))) > 1:
        raise Failure(session.text("trial_one"), USAGE)
    with _opened(session, needed=not (sample or case)) as hub:
        trial = Trial(session, mapping_named(session, name), hub)
        shown = _Preview(trial, sample, case)
        if not (sample or case):
            require_used(session, trial)
            shown.chosen = trial.one(record, read=read) if record else trial.latest(n, read=read)
        if not watch:
            return shown.show()
        files = [sample] if sample else []
        with contextlib.suppress(KeyboardInterrupt):  # the one way to end it
            follow(shown.again, lambda: stamp([*draft_files(session.project, trial.name), *files]), _ticks())
    return OK


def follow(show: Callable[[], object], seen: Callable[[], object], ticks: Iterable[object]) -> None:
    """Show something, and at every tick at which what ``seen`` returns has changed show it anew."""
    before = seen()
    show()
    for _ in ticks:
        now = seen()
        if now != before:
            before = now
            show()


def stamp(files: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Return when each file was written last (ns) and its size (bytes); one that is not there is left out."""
    found: dict[Path, tuple[int, int]] = {}
    for file in files:
        with contextlib.suppress(OSError):
            state = file.stat()
            found[file] = (state.st_mtime_ns, state.st_size)
    return found


def _ticks() -> Iterator[None]:
    never = threading.Event()
    while not never.wait(OFTEN):
        yield


@contextlib.contextmanager
def _opened(session: Session, *, needed: bool) -> Iterator[Hub | None]:
    """Open the hub; a draft can be tried on a sample before there is a store."""
    settings = session.settings
    if not needed and settings.store_url is None and not (settings.data_dir / "hub.db").exists():
        yield None
        return
    with session.hub() as hub:
        yield hub


class _Preview:
    """One preview: chosen records, shown as often as the draft changes."""

    def __init__(self, trial: Trial, sample: Path | None, case: str) -> None:
        self.trial, self.session = trial, trial.session
        self.sample, self.case = sample, case
        self.chosen: list[Chosen] = []

    def again(self) -> None:
        """Show it while somebody edits: whatever is wrong for now is said, and it goes on."""
        try:
            self.trial.renew()
            self.show()
        except (Failure, SettingsError) as error:
            self.session.screen.warn(str(error))
        if not self.session.as_json:
            file = draft_files(self.session.project, self.trial.name)[0]
            self.session.screen.line(self.session.text("trial_watching", file=plain(file)), style="dim")

    def show(self) -> int:
        """Show what the draft makes of the records; return the exit code."""
        try:
            new = self.trial.draft()
        except ProjectInvalid as error:
            return problems_told(self.session, error)
        old = self.trial.in_force()
        mappings = [new] if old is None else [new, old]
        masks = self.trial.masks(mappings)
        tried = [(one, masks.of_record(one)) for one in self._given(new, mappings)]
        if self.session.as_json:
            self.session.screen.json(
                {
                    "ok": True,
                    "mapping": self.trial.name,
                    "revision": self.trial.number,
                    "sources": self.trial.told,
                    "records": [_json(one, mask, new, old) for one, mask in tried],
                }
            )
            return OK
        self._print(tried, new, old)
        return OK

    def _given(self, new: Compiled, mappings: Sequence[Compiled]) -> list[Given]:
        if self.case:
            source, context = case_of(cases_file(self.session.project, self.trial.name), self.case)
            return [Given("", None, "", source, context)]
        if self.sample is None:
            return list(self.trial.given(self.chosen, mappings))
        context = self._context(new)
        return [Given("", None, "", one, context) for one in _samples(self.session, self.sample)]

    def _context(self, new: Compiled) -> Context:
        """Return what a sample may ask: its sync's place; what it looks up is not there and waits."""
        sync = next(iter(self.trial.syncs()), None)
        if sync is None:
            return Context(business_key=business_key("", new.target, bytes(16)))
        key = business_key(sync.connection, sync.object, bytes(16))
        return Context(region=sync.region, org=sync.org, business_key=key)

    def _print(self, tried: Sequence[tuple[Given, Mask]], new: Compiled, old: Compiled | None) -> None:
        screen, say = self.session.screen, self.session.text
        head = "trial_head_new" if old is None else "trial_head"
        screen.line(say(head, name=self.trial.name, number=self.trial.number), style="bold")
        if not tried:
            screen.line(say("trial_none", syncs=", ".join(one.name for one in self.trial.syncs())))
        for given, mask in tried:
            name = given.record or mask.key(given.key) or self.case or plain(self.sample or "")
            screen.line(f"{say('trial_record', record=name)}  {given.sync}", style="bold")
            if isinstance(outcome_of(new, given), Left):
                screen.line(say("trial_left"))
                continue
            heads = [say(f"head.{one}") for one in ("field", "source", "result", "in_force")]
            screen.table(heads, [self._line(row, mask) for row in _rows(given, new, old)])

    def _line(self, row: _Row, mask: Mask) -> tuple[object, ...]:
        say = self.session.text
        read = {name: mask.source(name, value) for name, value in row.read.items()}
        source = "  ".join(f"{name}={value_text(self.session, value)}" for name, value in read.items())
        result = say("trial_gone") if row.gone else result_text(self.session, mask, row.name, row.new)
        return row.name, source, result, self._beside(row, mask, result)

    def _beside(self, row: _Row, mask: Mask, result: str) -> str:
        say = self.session.text
        if row.old is None:
            return say("trial_new") if row.has_old else ""
        if row.same:
            return say("trial_same")
        was = result_text(self.session, mask, row.name, row.old)
        return say("trial_was", old=was) + (say("trial_masked") if was == result else "")


class _Row:
    """One field of one record: what it reads, what it comes to, what the mapping in force makes of it."""

    def __init__(self, given: Given, name: str, new: Compiled, old: Compiled | None) -> None:
        found = (new if name in new.fields or old is None else old).fields[name]
        self.name = name
        self.read = {one: _lookup(given.source, one) for one in sorted(found.reads)}
        self.gone = name not in new.fields
        self.new: Result = part_of(new, given, name)
        self.has_old = old is not None
        self.old: Result | None = (
            part_of(old, given, name) if old is not None and name in old.fields else None
        )

    @property
    def same(self) -> bool:
        """Say whether both come to the same; true is not 1."""
        if self.gone or not (isinstance(self.new, Value) and isinstance(self.old, Value)):
            return not self.gone and self.new == self.old
        return repr(self.new.value) == repr(self.old.value)


def _rows(given: Given, new: Compiled, old: Compiled | None) -> Iterator[_Row]:
    for name in dict.fromkeys((*new.fields, *(old.fields if old is not None else ()))):
        yield _Row(given, name, new, old)


def _json(given: Given, mask: Mask, new: Compiled, old: Compiled | None) -> dict[str, Any]:
    rows = list(_rows(given, new, old))
    return {
        "sync": given.sync or None,
        "record": given.record,
        "key": mask.key(given.key) or None,
        "left": isinstance(outcome_of(new, given), Left),
        "fields": [
            {
                "field": row.name,
                "source": {
                    name: shown
                    for name, value in row.read.items()
                    if (shown := mask.source(name, value)) is not MISSING
                },
                "result": None if row.gone else result_json(mask, row.name, row.new),
                "in_force": None if row.old is None else result_json(mask, row.name, row.old),
                "same": None if old is None else row.same,
            }
            for row in rows
        ],
    }


def _lookup(source: Json, name: str) -> Json | Missing:
    """Return what a field reads: a name of the source, or a path through it."""
    if isinstance(source, dict) and name in source:
        return source[name]
    value: Json = source
    for step in name.split("."):
        if not isinstance(value, dict) or step not in value:
            return MISSING
        value = value[step]
    return value


def _samples(session: Session, file: Path) -> list[Json]:
    try:
        found = orjson.loads(file.read_bytes())
    except OSError as error:
        said = session.text("trial_sample", file=plain(file), why=error.strerror or error)
        raise Failure(said, PROBLEM) from None
    except orjson.JSONDecodeError as error:
        where = f"{file}:{error.lineno}:{error.colno}"
        raise Failure(session.text("trial_sample", file=plain(where), why=error.msg), PROBLEM) from None
    listed = found if isinstance(found, list) else [found]
    if not listed or not all(isinstance(one, dict) for one in listed):
        raise Failure(
            session.text("trial_sample", file=plain(file), why=session.text("trial_sample_form")), PROBLEM
        )
    return listed
