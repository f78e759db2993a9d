"""The contract between the hub and a connector: values that cross it and the class an author subclasses.

A connector opens nothing by itself: the HTTP client, the clock and the log come in a :class:`Toolbox`. It never
decides about retries, order or duplicates; it says what happened and the pipe decides (``pipe.md`` section 4).
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from hub.clock import Clock
from hub.errors import RemoteError
from hub.model.record import Json
from hub.sdk.http import HttpClient
from hub.sdk.notice import Notice, Told
from hub.sdk.slots import Slots
from hub.sdk.spec import ConnectorSpec
from hub.sdk.token import SharedToken

if TYPE_CHECKING:
    from hub.sdk.inbound import InboundRequest, Received

__all__ = [
    "Absent",
    "Applied",
    "CannotTell",
    "CheckReport",
    "CheckStep",
    "Connector",
    "Emit",
    "Failed",
    "FindResult",
    "Found",
    "Gone",
    "Next",
    "Page",
    "Probe",
    "Several",
    "SourceRecord",
    "Toolbox",
    "VendorKey",
    "VendorRef",
    "Write",
    "WriteResult",
]


@dataclass(frozen=True, slots=True)
class VendorKey:
    """One object of a stream: organisation number ("" where the vendor has none) and the vendor's id."""

    org: str
    id: str


@dataclass(frozen=True, slots=True)
class VendorRef:
    """What we know of a vendor's object.

    ``vendor_id``: the id it is updated by. ``stable_key``: the number by which other objects name it (None: the id).
    ``stage``: the vendor's own status code, None if unknown. ``gone``: it was made and has been deleted since; what a
    write or a look-up shows so counts as made, and is read once more, which ends its record.
    """

    vendor_id: str
    stable_key: str | None = None
    stage: str | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record as the vendor holds it.

    ``observed_at``: µs, when the read of it began. ``version``: the vendor's own version, None if it has none.
    ``stage``, ``stable_key``: as in :class:`VendorRef`. ``partial``: a fact that no read shows again (somebody
    left); it is never stale, takes effect for the fields it names, and the object is read again afterwards.
    """

    key: VendorKey
    body: Json
    observed_at: int
    version: str | None = None
    stage: str | None = None
    stable_key: str | None = None
    deleted: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Records and the cursor that is safe once they are published; cursors never go back.

    ``beside``: (stream, record) of other streams that the same answer showed (`StreamSpec.read_with`); they are
    published before ``records``.
    """

    records: Sequence[SourceRecord]
    cursor: Json
    beside: Sequence[tuple[str, SourceRecord]] = ()
    total: int | None = None
    """Records (an estimate) the whole read will yield, once known: for progress and the time of arrival."""


@dataclass(frozen=True, slots=True)
class Write:
    """One request the pipe asks for.

    ``payload`` is pinned: every send of one attempt carries the same. ``step`` is the request to make now, ``plan``
    all of them. ``ref`` is None for a create. ``deadline``: clock.monotonic() seconds after which nothing may be
    sent (give it to the HTTP client). ``business_key``: ours, fixed for the record's life. ``key``: ours for this
    step of this attempt, 32 hex digits. ``options``: the sync's own settings for the object.
    """

    object: str
    org: str
    step: str
    plan: tuple[str, ...]
    ref: VendorRef | None
    payload: dict[str, Json]
    key: str
    business_key: str
    generation: int
    deadline: float
    create: bool
    options: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """The step took effect. ``stored``: the object as the vendor holds it now (a stream record's body), if it said."""

    ref: VendorRef
    stored: Json | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """The step took effect and the plan goes on; the same as Applied for a step that is not the last."""

    ref: VendorRef


@dataclass(frozen=True, slots=True)
class Failed:
    """The step did not take effect (TryAgain, Refused, ConnectionDown, NotSent) or may have (OutcomeUnknown)."""

    error: RemoteError


@dataclass(frozen=True, slots=True)
class Gone:
    """There is nothing under the ref we have."""

    key: VendorKey | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The object exists. ``as_sent``: it holds what the payload says / has the status the step leads to.

    ``state``: a stream record's body, for the merge; None where the object has no stream.
    """

    ref: VendorRef
    as_sent: bool
    state: Json | None = None


@dataclass(frozen=True, slots=True)
class Several:
    """The vendor holds more than one object under our business key."""

    refs: tuple[VendorRef, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """A create: nothing under our business key. Not used for an update (Found or Gone)."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The look-up could not be made or says nothing; it is repeated later."""

    reason: str
    error: RemoteError | None = None


WriteResult: TypeAlias = Applied | Next | Failed | Gone
FindResult: TypeAlias = Found | Several | Absent | CannotTell | Gone | Failed
"""Failed(Refused) of a look-up: our key is taken by somebody else's object."""


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of a connection test: what was tried, how it ended and what an administrator must click."""

    name: str
    ok: bool
    zh: str
    en: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The steps of a connection test in the order they were made; it stops at the first that fails."""

    steps: tuple[CheckStep, ...]

    @property
    def ok(self) -> bool:
        """Say whether every step passed."""
        return all(step.ok for step in self.steps)


@dataclass(frozen=True, slots=True)
class Probe:
    """What one read-only look says of a point that the vendor's documents leave open (UNCONFIRMED in its fact sheet).

    ``outcome``: confirmed, contradicted, unclear (it could not be seen) or skipped. ``seen``: shapes, codes and counts
    only, never a value of a record.
    """

    point: str
    zh: str
    en: str
    outcome: str
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What the hub hands to a connector.

    ``log``: a structlog logger bound to the connection's name. ``token``: where the processes of a hub share the token
    of this connection's credential, for a :class:`hub.sdk.http.TokenSource`; None where there is one process alone.
    """

    http: HttpClient
    clock: Clock
    log: Any
    token: SharedToken | None = None


Emit: TypeAlias = "Callable[[Received], Awaitable[None]]"
"""Publishes what a source said; once it returns that is durable. What it raises says that it is not."""


class Connector(abc.ABC):
    """The code for one system. Subclasses state ``spec`` and implement the verbs their spec names.

    ``settings`` are the connection's values by the names of ``spec.settings``, secrets as
    :class:`hub.sdk.secret.Secret`. Calls of one connector run concurrently; it holds no record state.
    """

    spec: ClassVar[ConnectorSpec]
    slots: Slots | None = None
    """Calls at the same time, where the vendor limits them: entered by the connector, shared out by the hub."""

    def __init__(self, settings: dict[str, Any], tools: Toolbox) -> None:
        """Keep settings and tools; open nothing yet."""
        self.settings = settings
        self.tools = tools

    @abc.abstractmethod
    async def check(self) -> CheckReport:
        """Test the connection step by step; raise nothing that a step can say."""

    async def probe(self) -> Sequence[Probe]:
        """Look at every point the vendor's documents leave open, without writing. Raises RemoteError."""
        return ()

    def read(self, stream: str, after: Json, *, org: str = "") -> AsyncIterator[Page]:
        """Yield pages of changes after a cursor (None: everything). Raises RemoteError."""
        raise NotImplementedError(f"{type(self).__name__} reads no stream {stream}")

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Gone | Failed]:
        """Read single records again, one result per key in the same order. Raises RemoteError if none was read."""
        raise NotImplementedError(f"{type(self).__name__} fetches no stream {stream}")

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Make one request per write, one result each in the same order; never raise for a single one."""
        raise NotImplementedError(f"{type(self).__name__} writes nothing")

    async def find(self, writes: Sequence[Write]) -> Sequence[FindResult]:
        """Say for each write of unknown outcome whether it took effect, one result each in the same order."""
        raise NotImplementedError(f"{type(self).__name__} finds nothing")

    def receive(self, request: InboundRequest) -> Received:
        """Verify, decrypt and read a callback; pure, no I/O, no clock but ``request.now``.

        Raises:
            InboundRefused: it is not the vendor's, or not for us; the door gives one answer for all of these, but for
                ``Cause.INVALID``: the body is of another format. The message says what to check, for our log alone.
        """
        raise NotImplementedError(f"{type(self).__name__} receives nothing")

    async def listen(self, emit: Emit) -> None:
        """Hear what the vendor says of itself, by a socket or a list it keeps, until cancelled; it never returns.

        The hub lets one process of a cluster listen for a connection. What ``emit`` has not taken is not acknowledged.
        A source that fails is tried again from here, and told to people as :class:`hub.sdk.inbound.Health`.
        """
        raise NotImplementedError(f"{type(self).__name__} listens to nothing")

    async def notify(self, users: Sequence[str], notice: Notice, *, deadline: float) -> Told:
        """Send a work notice to people by their user ids there (``spec.notifies``); nothing is sent after ``deadline``.

        Raises:
            RemoteError: nobody was told; OutcomeUnknown: perhaps. The same notice is sent again then.
            SettingsError: a setting that notices need is not set.
        """
        raise NotImplementedError(f"{type(self).__name__} sends no notices")

    def settle_after(self, object: str) -> float:
        """Return how long (seconds) a write of that object may still take effect after its answer was lost."""
        return self.spec.objects[object].settle_after

    async def close(self) -> None:
        """Let go of what the connector holds (sessions)."""
