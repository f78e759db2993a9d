"""The WeCom connector: customers and their relations in by read and callback, remarks and tags out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar

from connectors.wecom.checking import run_check
from connectors.wecom.client import WeComClient
from connectors.wecom.declared import SPEC
from connectors.wecom.directory import Directory
from connectors.wecom.lookup import Lookup
from connectors.wecom.probing import run_probes
from connectors.wecom.reading import FollowReader
from connectors.wecom.relations import pair_of
from connectors.wecom.tags import TagLibrary
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
    Page,
    Probe,
    Received,
    SettingsError,
    SourceRecord,
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

    async def check(self) -> CheckReport:
        """Test the connection step by step."""
        return await run_check(self._client, self._directory, self.settings, door_open=self._door.is_open)

    async def probe(self) -> Sequence[Probe]:
        """Look at every point the documents leave open, without writing."""
        return await run_probes(self._client)

    def read(self, stream: str, after: Json, *, org: str = "") -> AsyncIterator[Page]:  # noqa: ARG002 - no organisations here
        """Yield all relations with their contacts beside them, or all employees; a cursor resumes a read that was cut."""
        if stream == "user":
            return self._directory.pages(after)
        if stream != "follow":
            return super().read(stream, after)
        reader = FollowReader(self._client, self._library, self.tools, limit=self.settings["page_size"])
        return reader.pages(after)

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Gone | Failed]:
        """Read single records again; keys of one contact share one call."""
        return await (self._directory.fetch(keys) if stream == "user" else self._lookup.fetch(stream, keys))

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Make the writes; those to one contact one after another, others at the same time.

        Raises:
            IntegrityError: an answer was about another contact; every write was made.
        """
        return await _by_contact(writes, self._writer.write)

    async def find(self, writes: Sequence[Write]) -> Sequence[FindResult]:
        """Read the relations again and compare, one look per contact."""
        return await _by_contact(writes, self._writer.find)

    def receive(self, request: InboundRequest) -> Received:
        """Verify, decrypt and read a callback of this app. Raises InboundRefused."""
        received = self._door.receive(request)
        if (received.ignored or "").startswith("change_external_tag/"):
            self._library.forget()
        return received


async def _by_contact(
    writes: Sequence[Write], run: Callable[[Sequence[Write]], Awaitable[Sequence[R]]]
) -> list[R]:
    """Run the writes in groups of one contact each and return the results in the order of the writes."""
    groups: dict[str, list[int]] = {}
    for index, write in enumerate(writes):
        pair = pair_of(write.ref.vendor_id) if write.ref is not None else None
        groups.setdefault(pair[1] if pair else "", []).append(index)
    found = await asyncio.gather(
        *(run([writes[index] for index in group]) for group in groups.values()), return_exceptions=True
    )
    results: dict[int, R] = {}
    for group, answers in zip(groups.values(), found, strict=True):
        if isinstance(answers, BaseException):
            raise answers
        results.update(zip(group, answers, strict=True))
    return [results[index] for index in range(len(writes))]
