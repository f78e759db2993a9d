"""The WeCom connector: customers, relations and approvals in by read and callback, remarks, tags and approvals out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar

from connectors.wecom.approval_reading import ApprovalReader
from connectors.wecom.approval_starting import Starting
from connectors.wecom.approval_writing import ApprovalWriter
from connectors.wecom.approvals import Approvals
from connectors.wecom.checking import run_check
from connectors.wecom.client import WeComClient
from connectors.wecom.declared import SPEC
from connectors.wecom.directory import Directory
from connectors.wecom.events import ids_of
from connectors.wecom.lookup import Lookup
from connectors.wecom.notices import Messages
from connectors.wecom.pacing import ApprovalCalls
from connectors.wecom.people import People
from connectors.wecom.probing import run_probes
from connectors.wecom.reading import FollowReader
from connectors.wecom.relations import pair_of
from connectors.wecom.tags import TagLibrary
from connectors.wecom.templates import Templates
from connectors.wecom.webhook import Door
from connectors.wecom.writing import FollowWriter
from hub.sdk import (
    CheckReport,
    Connector,
    ConnectorSpec,
    Failed,
    FindResult,
    Gone,
    InboundRequest,
    Json,
    Notice,
    Page,
    Probe,
    Received,
    SettingsError,
    SourceRecord,
    Told,
    Toolbox,
    VendorKey,
    Write,
    WriteResult,
    check_settings,
)

__all__ = ["WeComConnector"]

R = TypeVar("R")


class WeComConnector(Connector):
    """One self-built app of one corp. Holds a token and the tag library; safe for concurrent calls in one event loop."""

    spec: ClassVar[ConnectorSpec] = SPEC

    def __init__(self, settings: dict[str, Any], tools: Toolbox) -> None:
        """Check the settings. Raises SettingsError with the field."""
        super().__init__(check_settings(SPEC.settings, settings), tools)
        if self.settings["receive"] not in ("callback", "poll"):
            raise SettingsError("is callback or poll", field="receive")
        self._door = Door(self.settings)
        self._client = WeComClient(self.settings, tools)
        self.slots = self._client.slots
        self._library = TagLibrary(self._client, tools.clock, self.settings["tag_group"])
        self._lookup = Lookup(self._client, self._library, tools)
        self._directory = Directory(self._client, tools, limit=self.settings["page_size"])
        self._writer = FollowWriter(
            self._client, self._library, self._lookup, clear_mobiles=self.settings["clear_mobiles"]
        )
        self._messages = Messages(self._client, self.settings["agent_id"])
        self.codes = ids_of(self.settings)
        calls = ApprovalCalls(self._client, tools, limit=self.settings["approval_calls"])
        self._calls, self._templates = calls, Templates(calls, tools)
        self._approvals = Approvals(
            calls, tools, field=self.settings["correlation_field"], offset=self.settings["time_offset"]
        )
        starting = Starting(self._templates, self._approvals, People(self._client, tools), self.settings)
        self._approval_writer = ApprovalWriter(calls, self._approvals, starting, tools, self.settings)

    async def check(self) -> CheckReport:
        """Test the connection step by step."""
        return await run_check(
            self._client, self._directory, self._templates, self.settings, door_open=self._door.is_open
        )

    async def probe(self) -> Sequence[Probe]:
        """Look at every point the documents leave open, without writing."""
        return await run_probes(self._client)

    def read(self, stream: str, after: Json, *, org: str = "") -> AsyncIterator[Page]:
        """Yield all relations with their contacts beside them, all employees, or what approvals have become since."""
        if stream == "user":
            return self._directory.pages(after)
        if stream == "approval":
            reader = ApprovalReader(self._calls, self._approvals, self.tools, self.settings)
            return reader.pages(after, self.codes, org)
        if stream != "follow":
            return super().read(stream, after)
        follows = FollowReader(self._client, self._library, self.tools, limit=self.settings["page_size"])
        return follows.pages(after)

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Gone | Failed]:
        """Read single records again; keys of one contact share one call."""
        if stream == "approval":
            return await self._approvals.fetch(keys)
        return await (self._directory.fetch(keys) if stream == "user" else self._lookup.fetch(stream, keys))

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Make the writes; those to one contact one after another, others at the same time.

        Raises:
            IntegrityError: an answer was about another contact or approval; every write was made.
        """
        return await _by_object(writes, self._writer.write, self._approval_writer.write)

    async def find(self, writes: Sequence[Write]) -> Sequence[FindResult]:
        """Read the relations again and compare, one look per contact; find approvals by our number."""
        return await _by_object(writes, self._writer.find, self._approval_writer.find)

    async def notify(self, users: Sequence[str], notice: Notice, *, deadline: float) -> Told:
        """Send a message of the app to members. Raises RemoteError, SettingsError."""
        return await self._messages.send(users, notice, deadline=deadline)

    def receive(self, request: InboundRequest) -> Received:
        """Verify, decrypt and read a callback of this app. Raises InboundRefused."""
        received = self._door.receive(request)
        if (received.ignored or "").startswith("change_external_tag/"):
            self._library.forget()
        return received


async def _by_object(
    writes: Sequence[Write],
    relate: Callable[[Sequence[Write]], Awaitable[Sequence[R]]],
    approve: Callable[[Write], Awaitable[R]],
) -> list[R]:
    """Run relations in groups of one contact each, approvals each alone; return the results in the order of the writes."""

    async def alone(some: Sequence[Write]) -> Sequence[R]:
        return [await approve(some[0])]

    groups: dict[tuple[str, str], list[int]] = {}
    for index, write in enumerate(writes):
        pair = pair_of(write.ref.vendor_id) if write.ref is not None else None
        name = str(index) if write.object == "approval" else pair[1] if pair else ""
        groups.setdefault((write.object, name), []).append(index)
    found = await asyncio.gather(
        *(
            (alone if of == "approval" else relate)([writes[index] for index in group])
            for (of, _), group in groups.items()
        ),
        return_exceptions=True,
    )
    results: dict[int, R] = {}
    for group, answers in zip(groups.values(), found, strict=True):
        if isinstance(answers, BaseException):
            raise answers
        results.update(zip(group, answers, strict=True))
    return [results[index] for index in range(len(writes))]
