"""What the pipe knows besides rows: project, specs, vault. Values, fixed while a process runs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from hub.clock import SECOND, name_of
from hub.mapping import Context
from hub.metrics import Metrics
from hub.model.kinds import KINDS, digest_form
from hub.model.region import is_within
from hub.project.exports import held_back
from hub.project.values import API, LANE_LIVE, LANE_MONEY, Project, Sync
from hub.store.view import Sealer
from hub.tracing import Tracer

if TYPE_CHECKING:
    from hub.crm.merge import Digest
    from hub.model.record import Json
    from hub.sdk.spec import ConnectorSpec, ObjectSpec, StreamSpec
    from hub.store.rows import Owed, Record, Xref

__all__ = ["API_AUTHORITY", "UNFIT", "YEARS", "Timing", "Vault", "World", "business_key", "step_key"]

APPROVAL = "approval"
MONEY_KINDS = frozenset({"payment", APPROVAL})
UNFIT = 5 * SECOND
"""How long (µs) a row is left to other processes by one that cannot use the mapping in force."""
YEARS = "years"
"""Where an xref keeps the calendar years (UTC) in which its record left the country."""


class Vault(Sealer, Protocol):
    """What the pipe needs of the vault, beside what a view does."""

    def new_data_key(self, record: bytes) -> tuple[bytes, bytes]:
        """Return a new per-record key and its sealed form."""
        ...

    def open_data_key(self, record: bytes, sealed: bytes) -> bytes:
        """Return a record's key."""
        ...

    def seal_values(self, data_key: bytes, plain: bytes, aad: bytes) -> bytes:
        """Encrypt values of an act under a record's key."""
        ...

    def open_values(self, data_key: bytes, blob: bytes, aad: bytes) -> bytes:
        """Decrypt them; raise IntegrityError when they were altered or belong elsewhere."""
        ...

    def digest(self, data: bytes) -> bytes:
        """Return the keyed 8-byte digest."""
        ...


API_AUTHORITY: Mapping[str, str] = {"*": "source"}
"""A CRM that writes through the API owns what it sends."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds. ``send_window``: how long after a claim bytes may go out; ``lease`` is longer and renewed.

    ``read_lag``: a reader pauses while more messages than this wait to be taken from the topic it fills, whoever put
    them there; its own first tenth of them is free.
    """

    send_window: float = 8.0
    lease: float = 10.0
    batch: int = 200
    doubt_retry: float = 5.0
    read_lag: int = 20_000


@functools.lru_cache(maxsize=1024)  # a claim asks twice: for the mapping and for the write
def business_key(connection: str, object_: str, record: bytes) -> str:
    """Return the key by which our object is found at the vendor, fixed for the record's life (32 hex digits).

    A record that an object of another system became has its id's second half from that object (:func:`hub.clock.uuid8`).
    The key hangs on that half alone: if the record is lost in a restore and comes in again, it is found at the vendor.
    """
    text = f"{connection}/{object_}/".encode() + (name_of(record) or record)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def step_key(epoch: bytes, sync: str, subject: str, generation: int, step: str) -> str:
    """Return the idempotency key of one step of one attempt (32 hex digits)."""
    text = b"/".join((epoch, sync.encode(), subject.encode(), str(generation).encode(), step.encode()))
    return hashlib.blake2b(text, digest_size=16).hexdigest()


@dataclass(frozen=True)
class World:
    """Everything a transaction of the pipe looks up besides rows.

    ``specs``: connection name -> connector spec. ``settle_after``: (connection, object) -> seconds, where a
    setting replaces the spec's figure. ``epoch``: of the store. ``unfit``: syncs that this process leaves alone, because it
    cannot use what was published for them (``why_unfit``). ``metrics``: what this process counts;
    ``tracer``: where its spans go, if anywhere. ``public_url``: where people's phones reach our doors, "": nowhere.
    """

    project: Project
    specs: Mapping[str, ConnectorSpec]
    vault: Vault
    epoch: bytes
    timing: Timing = Timing()
    settle_after: Mapping[tuple[str, str], float] = field(default_factory=dict)
    unfit: frozenset[str] = frozenset()
    why_unfit: str = ""
    public_url: str = ""
    metrics: Metrics = field(default_factory=Metrics, compare=False, repr=False)
    tracer: Tracer | None = field(default=None, compare=False, repr=False)

    @functools.cached_property
    def digests(self) -> dict[str, Digest]:
        """Return per kind the function (field, value) -> keyed digest of the normal form, as hex."""
        return {name: self._digest(name) for name in KINDS}

    @functools.cached_property
    def deciding_keys(self) -> dict[str, frozenset[str]]:
        """Return per kind the names of the match keys by which a record is recognised: strong ones, and the rules'."""
        return {
            name: frozenset(
                f"{name}.{one}"
                for one in (
                    *kind.strong_keys,
                    *(one for rule in self.project.rules(name).match for one in rule.fields),
                )
            )
            for name, kind in KINDS.items()
        }

    def _digest(self, kind: str) -> Digest:
        known, keyed = self.project.kind(kind), self.vault.digest
        null = keyed(b"null").hex()

        @functools.lru_cache(maxsize=2048)  # claim, merge and act ask for the same values in a row
        def of_text(name: str, value: str) -> str:
            return keyed(digest_form(known, name, value)).hex()

        def digest(name: str, value: Json) -> str:
            if value is None:
                return null
            return (
                of_text(name, value) if type(value) is str else keyed(digest_form(known, name, value)).hex()
            )

        return digest

    def inbound(self, connection: str, stream: str) -> Sync | None:
        """Return the sync that takes this stream in; a connection of kind api takes every kind in, unmapped."""
        found = self.project.connections.get(connection)
        if found is not None and found.kind == API:
            return _api_sync(connection, stream) if stream in KINDS else None
        return self.project.sync_in(connection, stream)

    def sync(self, name: str) -> Sync | None:
        """Return a sync by name, those of the API included."""
        found = self.project.sync(name)
        if found is None and name.startswith("api:") and name.count(":") == 2:
            _, connection, kind = name.split(":")
            return self.inbound(connection, kind)
        return found

    def object(self, sync: Sync) -> ObjectSpec | None:
        """Return the spec of the object a sync writes or shows."""
        spec = self.specs.get(sync.connection)
        return spec.objects.get(sync.object) if spec else None

    def stream(self, sync: Sync) -> StreamSpec | None:
        """Return the spec of the stream a sync reads."""
        spec = self.specs.get(sync.connection)
        return spec.streams.get(sync.stream or "") if spec else None

    def is_fetchable(self, sync: Sync) -> bool:
        """Say whether single records of the sync's stream can be read again."""
        stream = self.stream(sync)
        return stream is not None and stream.fetchable

    def settles_after(self, sync: Sync) -> float:
        """Return how long (seconds) a write of this sync may still take effect after its answer was lost."""
        obj = self.object(sync)
        return self.settle_after.get((sync.connection, sync.object), obj.settle_after if obj else 0.0)

    def stop_at(self, sync: Sync) -> str:
        """Return the stage at which the sync's plan ends."""
        obj = self.object(sync)
        return sync.stop_at or (obj.stop_at if obj else "")

    @functools.cached_property
    def writers(self) -> dict[tuple[str, str, str], Sync]:
        """Return (connection, object, org) -> the sync that writes it."""
        outs = (sync for sync in self.project.syncs.values() if sync.direction == "out")
        return {(sync.connection, sync.object, sync.org): sync for sync in outs}

    def serves(self, sync: Sync, record: Record, *, needed: bool = False) -> bool:
        """Say whether a sync is for records of this region and legal entity, and for approvals that are routed its way.

        ``needed``: the books of the sync's legal entity have the record already, or a document of theirs names it: a
        customer whom two companies serve is in both books, whosever it is.
        """
        if record.kind == APPROVAL and record.body.get("connection") != sync.connection:
            return False
        if needed and sync.entity is not None:
            return True
        return is_within(record.region, sync.region) and sync.entity in (None, record.entity)

    @functools.cached_property
    def books(self) -> dict[str, tuple[Sync, ...]]:
        """Return per kind the syncs into books of several legal entities whose objects documents name (``xref()``)."""
        named = {one for sync in self.project.syncs.values() for one in sync.mapping.xrefs}
        found: dict[str, tuple[Sync, ...]] = {}
        for kind in KINDS:
            outs = [
                one
                for one in self.project.syncs_out(kind)
                if one.entity and f"{one.connection}.{one.object}" in named
            ]
            found[kind] = tuple(outs) if len({one.entity for one in outs}) > 1 else ()
        return found

    def inward(self, sync: Sync, org: str) -> Context:
        """Return what an inbound mapping may ask beside the object when a write's answer passes through it."""
        user = functools.partial(self.project.employee, sync.connection)
        return Context(region=sync.region, org=org, user=user, legal_entity=self.project.legal_entity)

    def visible(self, record: Record, fields: dict[str, Json] | None = None) -> dict[str, Json]:
        """Return what of a record (or of ``fields`` that come for it) shows where it lies.

        Custom fields that its region does not have are kept, and hidden.
        """
        shown = record.body if fields is None else fields
        kind = self.project.kind(record.kind)
        hidden = kind.hidden(record.region, shown) if kind.regional else ()
        return {name: value for name, value in shown.items() if name not in hidden} if hidden else shown

    def held_back(self, sync: Sync, record: Record, names: Iterable[str]) -> str | None:
        """Return the first of a record's fields that may not leave for the sync's connection, None: all may."""
        if not self.is_foreign(sync):
            return None
        exports = self.project.connections[sync.connection].exports
        body = self.visible(record)
        filled = [name for name in names if body.get(name) is not None]
        return held_back(exports, self.project.kind(sync.kind), record.region, filled)

    def sent(self, sync: Sync, xref: Xref, row: Owed, now: int) -> dict[str, Json]:
        """Return what an xref keeps of a sync's last send; of one that leaves the country also the years it did so."""
        note: dict[str, Json] = {"version": row.version, "revision": row.revision}
        if not self.is_foreign(sync):
            return note
        year = datetime.fromtimestamp(now / SECOND, UTC).year
        return note | {YEARS: sorted({year, *xref.sent.get(sync.name, {}).get(YEARS, ())})}

    def is_foreign(self, sync: Sync) -> bool:
        """Say whether what the sync sends leaves the country."""
        connection = self.project.connections.get(sync.connection)
        return connection is not None and connection.foreign


@functools.cache
def _api_sync(connection: str, kind: str) -> Sync:
    unmapped: Any = None  # the body is the CRM's own fields
    lane = LANE_MONEY if kind in MONEY_KINDS else LANE_LIVE
    return Sync(
        name=f"api:{connection}:{kind}",
        direction="in",
        connection=connection,
        object=kind,
        stream=kind,
        kind=kind,
        mapping=unmapped,
        mapped=False,
        mode="write",
        lane=lane,
        authority=API_AUTHORITY,
    )
