"""What ``hub mapping preview`` and ``hub mapping shadow`` share: the draft, what is in force, the records, how a result looks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from hub import registry, wiring
from hub.cli.mapping_life import key_named
from hub.cli.screen import plain, shorten
from hub.cli.session import PROBLEM, Failure, Session
from hub.errors import Cause
from hub.mapping import Compiled, Failed, Left, Wait
from hub.model.record import MISSING, Json, Missing
from hub.pipe.shadow import Given, Result, Value
from hub.pipe.shadow_masks import Mask, Masks
from hub.pipe.shadow_records import (
    given_in,
    given_out,
    heard,
    known_keys,
    last_changed,
    newest,
    owed_sources,
    read_known,
    syncs_of,
)
from hub.project import ProjectInvalid, revisions_in_force
from hub.project.drafts import compile_draft
from hub.project.load import kinds_of, texts_written
from hub.project.opening import newer, renewed
from hub.project.values import Sync
from hub.sdk.connector import SourceRecord
from hub.sdk.spec import ConnectorSpec
from hub.wiring import Hub

__all__ = [
    "Chosen",
    "Trial",
    "mapping_named",
    "problems_told",
    "require_used",
    "result_json",
    "result_text",
    "value_text",
]

BATCH = 200
"""Records that are looked at in one read of the store."""

Chosen: TypeAlias = tuple[Sync, Sequence[bytes] | Sequence[SourceRecord]]
"""A sync and the records it is tried on: of the CRM by their ids, or what a source said."""


def mapping_named(session: Session, name: str) -> str:
    """Return the mapping of the folder that a person names."""
    files = texts_written(session.project, {})
    return key_named(session, name, {key: file for key, file in files.items() if key[0] == "mapping"})[1]


@dataclass
class Trial:
    """One mapping's draft beside what is in force. ``hub``: None where a draft is tried on a sample and there is no store.

    ``told``: what a program is told of where the records come from. ``specs``: of every installed connector.
    """

    session: Session
    name: str
    hub: Hub | None
    told: list[dict[str, Any]] = field(default_factory=list)
    specs: Mapping[str, ConnectorSpec] = field(default_factory=registry.specs)

    def draft(self) -> Compiled:
        """Compile the file as it is now.

        Raises:
            ProjectInvalid: what is wrong with it, with file, line, column and nearest name.
        """
        texts = {} if self.hub is None else self.hub.store.read_now(revisions_in_force)
        in_force = {key: one.text for key, one in texts.items()}
        return compile_draft(self.session.project, self.specs, self.name, in_force)

    def in_force(self) -> Compiled | None:
        """Return the mapping in force, None: nothing of it is."""
        return next((one.mapping for one in self.syncs() if self.number is not None), None)

    @property
    def number(self) -> int | None:
        """The revision in force."""
        return None if self.hub is None else self.hub.project.revisions.get(("mapping", self.name))

    def syncs(self) -> list[Sync]:
        """Return the syncs that use the mapping."""
        return [] if self.hub is None else syncs_of(self.hub.world, self.name)

    def renew(self) -> None:
        """Take up what was published meanwhile."""
        if self.hub is None:
            return
        found = self.hub.store.read_now(revisions_in_force)
        if newer(self.hub.project, {key: one.number for key, one in found.items()}):
            project = renewed(self.hub.project, self.session.project, self.specs, found)
            self.hub.project, self.hub.world = project, replace(self.hub.world, project=project)

    def masks(self, mappings: Sequence[Compiled]) -> Masks:
        """Return what hides personal values of these mappings."""
        if self.hub is None:
            return Masks.of(mappings, kinds_of(self.session.project), self.specs)
        project = self.hub.project
        used = [one.mapping for one in project.syncs.values() if one.mapped]
        return Masks.of(mappings, project.declared, self.specs, used)

    # ------------------------------------------------------------------------------------------- records

    def latest(self, most: int, *, read: bool) -> list[Chosen]:
        """Choose the last records of each sync; ``read``: a vendor is asked for what the bus does not have."""
        assert self.hub is not None  # whoever asks for records opened it
        chosen: list[Chosen] = []
        for sync in self.syncs():
            if sync.direction == "out":
                ids = self.hub.store.read_now(last_changed, self.hub.world, sync, most)
                chosen.append((sync, ids))
                self.told.append({"sync": sync.name, "records": len(ids)})
            else:
                chosen.append((sync, self._heard(sync, most, read=read)))
        return chosen

    def one(self, record: str, *, read: bool) -> list[Chosen]:
        """Choose one record of each sync, by its id or the vendor's."""
        assert self.hub is not None  # as above
        chosen: list[Chosen] = []
        for sync in self.syncs():
            id_ = _record_id(record)
            if sync.direction == "out":
                if id_ is not None:
                    chosen.append((sync, [id_]))
                continue
            keys = (
                {(one.org, one.id) for one in self.hub.store.read_now(known_keys, sync, BATCH, id_)}
                if id_
                else set()
            )
            found = [
                one
                for one in self._heard(sync, 100_000, read=False, quiet=True)
                if (one.key.org, one.key.id) in keys or record in (one.key.id, f"{one.key.org}/{one.key.id}")
            ]
            if not found and read and id_ is not None:
                found = self._ask(sync, self.hub.store.read_now(known_keys, sync, BATCH, id_))
            chosen.append((sync, found))
        return chosen

    def given(self, chosen: Iterable[Chosen], mappings: Sequence[Compiled]) -> Iterator[Given]:
        """Yield the chosen records with all that these mappings look up, a batch at a time."""
        assert self.hub is not None  # as above
        for sync, records in chosen:
            for at in range(0, len(records), BATCH):
                some: Any = records[at : at + BATCH]
                load = given_out if sync.direction == "out" else given_in
                yield from self.hub.store.read_now(load, self.hub.world, sync, mappings, some)

    def _heard(self, sync: Sync, most: int, *, read: bool, quiet: bool = False) -> list[SourceRecord]:
        hub = self.hub
        assert hub is not None  # as above
        found = hub.store.read_now(owed_sources, hub.world, sync, most)
        if (
            hub.settings.kafka_bootstrap or (hub.settings.data_dir / "bus.db").exists()
        ):  # opening would make one
            found = newest([*found, *asyncio.run(heard(hub.bus, hub.world, sync, most))], most)
        have = {(one.key.org, one.key.id) for one in found}
        told: dict[str, Any] = {"sync": sync.name, "heard": len(found)}
        if len(found) < most and not quiet and hub.world.is_fetchable(sync):
            known = hub.store.read_now(known_keys, sync, most)
            missing = [one for one in known if (one.org, one.id) not in have][: most - len(found)]
            if missing and read:
                more = self._ask(sync, missing)
                told["read"] = len(more)
                found = newest([*found, *more], most)
            elif missing:
                told["could_read"] = len(missing)
                self._say("trial_read_hint", sync=sync.name, found=len(found), wanted=most, reads=len(missing),
                          connection=sync.connection)  # fmt: skip
        if not quiet:
            self.told.append(told | {"records": len(found)})
        return found

    def _ask(self, sync: Sync, keys: Sequence[Any]) -> list[SourceRecord]:
        """Ask the vendor for objects, having said how many reads it takes."""
        self._say("trial_reads", count=len(keys), connection=sync.connection)
        found, ended = asyncio.run(self._read(sync, keys))
        if ended:
            why = next((self.session.cause(one) for one in Cause if one.value == ended), None)
            self._say("trial_read_end", connection=sync.connection, count=len(found),
                      why=why or self.session.text("trial_budget"))  # fmt: skip
        return found

    async def _read(self, sync: Sync, keys: Sequence[Any]) -> tuple[list[SourceRecord], str]:
        assert self.hub is not None  # as above
        connector = wiring.connect(self.hub, sync.connection)
        try:
            return await read_known(self.hub.store, self.hub.world, sync, connector, keys)
        finally:
            await self.hub.disconnect()

    def _say(self, key: str, **known: object) -> None:
        """Tell people something beside the result, which programs read from the standard output."""
        self.session.screen.warn(self.session.text(key, **known), style="yellow")


def _record_id(text: str) -> bytes | None:
    with contextlib.suppress(ValueError):
        found = bytes.fromhex(text)
        return found if len(found) == 16 else None
    return None


def problems_told(session: Session, error: ProjectInvalid) -> int:
    """Tell what is wrong with a draft; return the exit code."""
    if session.as_json:
        session.screen.json({"ok": False, "problems": [str(one) for one in error.problems]})
    else:
        for one in error.problems:
            session.screen.warn(str(one), style="red")
        session.screen.warn(session.text("trial_problems", count=len(error.problems)))
    return PROBLEM


def require_used(session: Session, trial: Trial) -> None:
    """Refuse a mapping for which there are no records: no sync names it."""
    if not trial.syncs():
        raise Failure(session.text("trial_unused", name=plain(trial.name)))


def result_json(mask: Mask, name: str, result: Result) -> dict[str, Any]:
    """Return what a field came to, masked, for programs."""
    match result:
        case Value(value=value):
            shown = mask.result(name, value)
            known: dict[str, Any] = {"absent": True} if shown is MISSING else {"value": shown}
            return known | ({"masked": True} if mask.hides(name) else {})
        case Wait(key=key):
            return {"waits": mask.waits(key)}
        case Failed() as failed:
            return {"fails": mask.why(failed.field, failed.message), "field": failed.field}
        case Left():
            return {"left": True}


def result_text(session: Session, mask: Mask, name: str, result: Result) -> str:
    """Return what a field came to, masked, for people."""
    match result:
        case Value(value=value):
            return value_text(session, mask.result(name, value))
        case Wait(key=key):
            return session.text("trial_waits", what=mask.waits(key))
        case Failed() as failed:
            at = f"{failed.field}: " if failed.field not in (name, "") else ""
            return session.text("trial_fails", why=at + mask.why(failed.field, failed.message))
        case Left():
            return session.text("trial_left")


def value_text(session: Session, value: Json | Missing) -> str:
    """Return a masked value for people."""
    if value is MISSING:
        return session.text("trial_absent")
    return f'"{shorten(value, 80)}"' if isinstance(value, str) else shorten(value, 120)
