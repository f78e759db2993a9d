"""The DingTalk connector: approvals out and in, employees and departments in, events by Stream or HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from connectors.dingtalk.approvals import Approvals
from connectors.dingtalk.checking import run_check
from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.declared import SPEC
from connectors.dingtalk.directory import Directory
from connectors.dingtalk.events import FORM_CHANGED, Event
from connectors.dingtalk.failed import FailedList
from connectors.dingtalk.notices import WorkNotices
from connectors.dingtalk.probing import run_probes
from connectors.dingtalk.reading import ApprovalReader
from connectors.dingtalk.schema import Templates
from connectors.dingtalk.starting import Starting
from connectors.dingtalk.stream import Stream
from connectors.dingtalk.webhook import Door, codes_of
from connectors.dingtalk.writing import ApprovalWriter
from hub.sdk import (
    CheckReport,
    Connector,
    ConnectorSpec,
    Emit,
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

__all__ = ["DingTalkConnector"]

MODES = ("stream", "callback", "poll")


class DingTalkConnector(Connector):
    """One internal app of one corp. Holds a token, forms and departments; safe for concurrent calls in one event loop."""

    spec: ClassVar[ConnectorSpec] = SPEC

    def __init__(self, settings: dict[str, Any], tools: Toolbox) -> None:
        """Check the settings. Raises SettingsError with the field."""
        super().__init__(check_settings(SPEC.settings, settings), tools)
        if self.settings["receive"] not in MODES:
            raise SettingsError(f"is {', '.join(MODES)}", field="receive")
        self.codes = codes_of(self.settings)
        self._door = Door(self.settings)
        self._client = DingTalkClient(self.settings, tools)
        self.slots = self._client.slots
        self._templates = Templates(self._client, tools)
        self._approvals = Approvals(
            self._client, tools, field=self.settings["correlation_field"], offset=self.settings["time_offset"]
        )
        self._directory = Directory(self._client, tools, limit=self.settings["page_size"])
        starting = Starting(self._client, self._templates, self._directory, tools, self.settings)
        self._writer = ApprovalWriter(
            self._client, self._templates, self._approvals, starting, tools, self.settings
        )
        self._notices = WorkNotices(self._client, tools.clock, self.settings["agent_id"])

    async def check(self) -> CheckReport:
        """Test the connection step by step; a template without the field that carries our number fails it."""
        return await run_check(self._client, self._templates, self.settings, self.codes)

    async def probe(self) -> Sequence[Probe]:
        """Look at every point the documents leave open, without writing."""
        return await run_probes(self._client, self._approvals, self.tools, self.codes)

    def read(self, stream: str, after: Json, *, org: str = "") -> AsyncIterator[Page]:
        """Yield approvals that began or ended since, or all employees or departments."""
        if stream in ("user", "department"):
            return self._directory.pages(stream, after)
        if stream != "approval":
            return super().read(stream, after)
        reader = ApprovalReader(self._client, self._approvals, self.tools, self.settings)
        return reader.pages(after, self.codes, org)

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Gone | Failed]:
        """Read single records again."""
        if stream == "approval":
            return await self._approvals.fetch(keys)
        return await self._directory.fetch(stream, keys)

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Make the writes side by side.

        Raises:
            IntegrityError: an answer was about another approval; every write was made.
        """
        results = await asyncio.gather(
            *(self._writer.write(write) for write in writes), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    async def find(self, writes: Sequence[Write]) -> Sequence[FindResult]:
        """Look writes of unknown outcome up, one after another: they share what they read."""
        return [await self._writer.find(write) for write in writes]

    async def notify(self, users: Sequence[str], notice: Notice, *, deadline: float) -> Told:
        """Send a work notice to employees and ask who got it. Raises RemoteError, SettingsError."""
        return await self._notices.send(users, notice, deadline=deadline)

    def receive(self, request: InboundRequest) -> Received:
        """Verify, decrypt and read an HTTP push to this app. Raises InboundRefused."""
        received = self._door.receive(request)
        self._heard_of(received.ignored or (received.events[0].type if received.events else ""))
        return received

    async def listen(self, emit: Emit) -> None:
        """Hold the Stream's socket; in HTTP mode ask for what could not be pushed."""
        source = Stream if self.settings["receive"] == "stream" else FailedList
        await source(self._client, self.tools, self.settings, self.codes, self._heard).run(emit)

    def _heard(self, event: Event) -> None:
        self._heard_of(event.word)

    def _heard_of(self, word: str) -> None:
        """Forget what an event says is another by now."""
        if word == FORM_CHANGED:
            self._templates.forget()
        elif word.startswith(("org_dept_", "user_")):
            self._directory.forget()
