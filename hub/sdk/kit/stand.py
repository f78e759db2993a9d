"""What a vendor's contract test tells the kit about its sandbox, and the bench that puts both together."""

from __future__ import annotations

import abc
import contextlib
import enum
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import httpx
import structlog
from structlog.testing import LogCapture

from hub.clock import SystemClock
from hub.model.record import Json
from hub.sdk.answer import Answer
from hub.sdk.connector import Connector, Page, SourceRecord, Toolbox, VendorRef, Write, WriteResult
from hub.sdk.http import HttpClient, Outbound, PrivateEntry
from hub.sdk.net import parse_url
from hub.sdk.sandbox import Sandbox, running
from hub.sdk.secret import Secret

__all__ = ["Bench", "Fault", "Stand", "dead_url", "latest", "scripted"]


class Fault(enum.Enum):
    """What a sandbox does wrong to the next call of one operation."""

    BROKEN = "the connection breaks, nothing is applied"
    DROPPED = "applied, then the connection breaks without an answer"
    CUT = "applied, then the answer breaks off in the middle"
    GARBLED = "applied, then an HTML error page instead of the answer"
    LATE = "the connection breaks now, it is applied when time has moved on by `Stand.late`"
    RATE = "refused: too many calls"
    EXPIRED = "refused: the session or token is not known any more"
    HTML = "nothing applied, an HTML error page"


class Stand(abc.ABC):
    """One fresh sandbox under test. Subclass it beside the vendor's contract test; everything goes through its dials.

    ``page_size`` is small, so that a few objects make several pages. ``org``: the organisation that is written.
    ``plans``: per object the plan that the saga tests run, of a create where there are any. ``greeting``: answers a
    client asks for before any other, such as a token.
    """

    org: ClassVar[str] = ""
    page_size: ClassVar[int] = 3
    late: ClassVar[float] = 60.0
    plans: ClassVar[Mapping[str, tuple[str, ...]]]
    greeting: ClassVar[tuple[Answer, ...]] = ()
    base_url: str
    """Where the sandbox listens; set before anything else is asked of the stand."""

    def __init__(self) -> None:
        """Make the sandbox; nothing listens yet."""
        self.sandbox = self.make()

    @abc.abstractmethod
    def make(self) -> Sandbox:
        """Return a sandbox in its fresh seed."""

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return settings that work, secrets as Secret, the page size as ``page_size``."""

    @abc.abstractmethod
    def wrong_key(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings with a credential that is not accepted."""

    @abc.abstractmethod
    async def seed(self, stream: str, count: int) -> list[str]:
        """Put ``count`` more objects there, each at a later time than the one before; return their ids."""

    @abc.abstractmethod
    async def edit(self, stream: str, vendor_id: str) -> None:
        """Change one object as the vendor's user does."""

    async def prepare(self, name: str) -> None:
        """Put there what a payload of an object refers to, or what a stream of that name needs to be read."""

    @abc.abstractmethod
    def payload(self, object_name: str, number: int) -> dict[str, Json]:
        """Return the ``number``-th complete payload that the sandbox accepts, of a create where there are any."""

    @abc.abstractmethod
    def bad(self, object_name: str) -> dict[str, Json]:
        """Return a payload that the vendor refuses for its data."""

    @abc.abstractmethod
    def change(self, object_name: str) -> dict[str, Json]:
        """Return an update that really changes what ``payload`` gave."""

    @abc.abstractmethod
    def inject(self, fault: Fault, operation: str, name: str) -> None:
        """Let the next call do wrong: ``operation`` is a step of the object ``name`` or "read" of the stream."""

    @abc.abstractmethod
    def effects(self, object_name: str) -> Sequence[tuple[str, str]]:
        """Return (step, vendor id) of everything the client under test made the vendor do, oldest first."""

    @abc.abstractmethod
    def coded(self, code: str) -> Answer:
        """Return the vendor's answer with that code and a text that says nothing."""


class Bench:
    """A connector in front of a running sandbox, and short words for what the tests do with it."""

    def __init__(self, connector: type[Connector], stand: Stand) -> None:
        """Take the parts; connectors are made by ``connect``."""
        self.stand = stand
        self.clock = SystemClock()
        self.log = LogCapture()
        self._connector = connector
        self._clients: list[HttpClient] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, connector: type[Connector], stand: type[Stand]) -> AsyncIterator[Bench]:
        """Run a fresh sandbox on a real socket; close every client at the end."""
        one = stand()
        async with running(one.sandbox) as one.base_url:
            bench = cls(connector, one)
            try:
                yield bench
            finally:
                for client in bench._clients:
                    await client.close()

    def connect(self, settings: dict[str, Any] | None = None, *, http: Any = None) -> Connector:
        """Return a new connector; ``http`` stands in for the client."""
        settings = self.stand.settings() if settings is None else settings
        log = structlog.wrap_logger(structlog.PrintLogger(), processors=[self.log])
        if http is None:
            secrets = [value for value in settings.values() if isinstance(value, Secret)]
            http = HttpClient(self._rules(settings), clock=self.clock, secrets=secrets, log=log)
            self._clients.append(http)
        return self._connector(settings, Toolbox(http, self.clock, log))

    def _rules(self, settings: Mapping[str, Any]) -> Outbound:
        urls = [settings[spec.name] for spec in self._connector.spec.settings if spec.type == "url"]
        places = [parse_url(url) for url in urls]
        entries = (PrivateEntry.parse(f"{place.host}:{place.port}", plain_http=True) for place in places)
        # No second try: the tests say what one try does.
        return Outbound(private=tuple(entries), ports=frozenset(place.port for place in places), pauses=())

    def write(
        self, name: str, step: str, payload: dict[str, Json], *, number: int = 1, ref: VendorRef | None = None
    ) -> Write:
        """Return the request for one step of the object's plan, as the pipe would make it."""
        plan = self.stand.plans[name]
        return Write(
            object=name,
            org=self.stand.org,
            step=step,
            plan=plan if step in plan else (step,),
            ref=ref,
            payload=payload,
            key=f"{number:032x}",
            business_key=f"KIT-{name}-{number}",
            generation=number,
            deadline=self.clock.monotonic() + 30,
            create=ref is None,
        )

    def create(self, name: str, number: int = 1) -> Write:
        """Return the first step of a good create."""
        return self.write(name, self.stand.plans[name][0], self.stand.payload(name, number), number=number)

    async def begin(self, name: str, number: int = 1) -> Write:
        """Return the first step of a good write: a create, or a change of one more object that the vendor's people made."""
        declared = self._connector.spec.objects[name]
        if declared.creates:
            return self.create(name, number)
        assert declared.stream is not None
        (made,) = await self.stand.seed(declared.stream, 1)
        payload = self.stand.payload(name, number)
        return self.write(name, self.stand.plans[name][0], payload, number=number, ref=VendorRef(made))

    async def pages(self, connector: Connector, stream: str, after: Json = None) -> list[Page]:
        """Return every page of one read."""
        return [page async for page in connector.read(stream, after, org=self.stand.org)]

    async def one(self, connector: Connector, write: Write) -> WriteResult:
        """Make one write and return its result."""
        (result,) = await connector.write([write])
        return result


def scripted(*answers: Answer) -> Any:
    """Return an HTTP client that gives these answers one after the other, the last one again and again."""
    left = list(answers)

    class Scripted:
        async def request(self, *_: object, **__: object) -> Answer:
            return left.pop(0) if len(left) > 1 else left[0]

    return Scripted()


def dead_url(url: str) -> str:
    """Return the address with a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return str(httpx.URL(url).copy_with(port=port))


def latest(pages: Sequence[Page], beside: str | None = None) -> dict[str, SourceRecord]:
    """Return the last record shown under each id, of the stream that was read or of one beside it."""
    if beside is not None:
        return {one.key.id: one for page in pages for stream, one in page.beside if stream == beside}
    return {record.key.id: record for page in pages for record in page.records}
