"""The Mailchimp connector: members, their consent and campaign results of one audience."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from connectors.mailchimp.audience import Audience
from connectors.mailchimp.bulk import write_all
from connectors.mailchimp.checking import run_check
from connectors.mailchimp.client import MailchimpClient
from connectors.mailchimp.members import Members
from connectors.mailchimp.objects import POLICIES, SPEC
from connectors.mailchimp.probing import run_probes
from connectors.mailchimp.reading import ChangeReader
from connectors.mailchimp.results import Results
from connectors.mailchimp.webhook import Door
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

__all__ = ["MailchimpConnector"]

CHOICES = {"receive": ("callback", "poll"), "webhook_policy": POLICIES}


class MailchimpConnector(Connector):
    """One audience of one account. Holds what the audience says of itself; safe for concurrent calls."""

    spec: ClassVar[ConnectorSpec] = SPEC

    def __init__(self, settings: dict[str, Any], tools: Toolbox) -> None:
        """Check the settings. Raises SettingsError with the field."""
        super().__init__(check_settings(SPEC.settings, settings), tools)
        for name, known in CHOICES.items():
            if self.settings[name] not in known:
                raise SettingsError(f"is {' or '.join(known)}", field=name)
        self._door = Door(self.settings)
        self._client = MailchimpClient(self.settings, tools)
        self.slots = self._client.slots
        self._audience = Audience(self._client, tools.clock)
        self._members = Members(self._client, self._audience, self.settings)
        self._results = Results(self._client, tools, self.settings)

    def settle_after(self, object: str) -> float:  # noqa: ARG002 - the contract's word; there is one object
        """Return the seconds a write may take effect after its answer was lost: this connection's setting."""
        seconds: float = self.settings["settle_after"]
        return seconds

    async def check(self) -> CheckReport:
        """Test the connection step by step."""
        return await run_check(self._client, self._audience, door_open=self._door.is_open)

    async def probe(self) -> Sequence[Probe]:
        """Look at every point the documents leave open, without writing; raise nothing."""
        return await run_probes(self._client)

    def read(self, stream: str, after: Json, *, org: str = "") -> AsyncIterator[Page]:
        """Yield pages of changed members (or their consent), or the results of all campaigns in the window."""
        if stream == "result":
            return self._results.pages(after, org)
        return ChangeReader(stream, self._client, self._members, self.tools, self.settings, org=org).pages(
            after
        )

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Gone | Failed]:
        """Read single records again; a record's key names the contact, even where the hash of an address was asked for."""
        now = self.tools.clock.now()
        return await (
            self._results.fetch(keys, now) if stream == "result" else self._members.fetch(stream, keys, now)
        )

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Upsert members: many new ones in one call, everybody else one call each."""
        return await write_all(self._client, self._members, writes, batch_from=self.settings["batch_from"])

    async def find(self, writes: Sequence[Write]) -> Sequence[FindResult]:
        """Read the members again and compare."""
        return await self._members.find(writes)

    def receive(self, request: InboundRequest) -> Received:
        """Verify and read a webhook. Raises InboundRefused."""
        return self._door.receive(request)
