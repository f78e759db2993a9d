"""The Yonyou connector: customers and receipts of one tenant, one call per step, every outcome said as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from connectors.yonyou.checking import run_check
from connectors.yonyou.client import YonyouClient
from connectors.yonyou.merchants import Merchants
from connectors.yonyou.objects import ACKS, COLLECTION, RECEIVEBILL, SPEC
from connectors.yonyou.probing import run_probes
from connectors.yonyou.reading import ChangeReader
from connectors.yonyou.receipts import LEADS_TO, Receipts
from connectors.yonyou.webhook import Door
from hub.sdk import (
    Applied,
    Cause,
    CheckReport,
    Connector,
    ConnectorSpec,
    Failed,
    FindResult,
    Gone,
    InboundRequest,
    Json,
    Next,
    Page,
    Probe,
    Received,
    Refused,
    RemoteError,
    SettingsError,
    SourceRecord,
    Toolbox,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
    check_settings,
)

__all__ = ["YonyouConnector"]

CHOICES: Mapping[str, tuple[str, ...]] = {
    "token_in": ("query", "header"),
    "receipts": (COLLECTION, RECEIVEBILL),
    "receive": ("callback", "poll"),
    "callback_ack": ACKS,
}
READS_STATUS = (Cause.STATE, Cause.INVALID, Cause.NOT_FOUND)
"""Refusals of a step behind which the status may stand: most texts are not documented."""


class YonyouConnector(Connector):
    """One tenant of YonBIP through one self-built app. Holds addresses and a token; safe for concurrent calls."""

    spec: ClassVar[ConnectorSpec] = SPEC

    def __init__(self, settings: dict[str, Any], tools: Toolbox) -> None:
        """Check the settings. Raises SettingsError with the field."""
        super().__init__(check_settings(SPEC.settings, settings), tools)
        for name, known in CHOICES.items():
            if self.settings[name] not in known:
                raise SettingsError(f"is {' or '.join(known)}", field=name)
        self._door = Door(self.settings)
        self._client = YonyouClient(self.settings, tools)
        self._merchants = Merchants(self._client, self.settings)
        self._receipts = Receipts(self._client, self.settings)

    def settle_after(self, object: str) -> float:  # noqa: ARG002 - the contract's word; one value for both
        """Return the seconds a write may take effect after its answer was lost: this connection's setting."""
        seconds: float = self.settings["settle_after"]
        return seconds

    async def check(self) -> CheckReport:
        """Test the connection step by step."""
        return await run_check(self._client, self.settings, door_open=self._door.is_open)

    async def probe(self) -> Sequence[Probe]:
        """Look at every point the documents leave open, without writing; raise nothing."""
        return await run_probes(self._client, self.tools.clock, self.settings)

    def read(self, stream: str, after: Json, *, org: str = "") -> AsyncIterator[Page]:
        """Yield pages of changes by ``pubts``; rows of one organisation if there is one."""
        reader = ChangeReader(self._books(stream), self.tools, org=org, settings=self.settings)
        return reader.pages(after)

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Gone | Failed]:
        """Read single records again; customers many in one call, receipts one by one."""
        return await self._books(stream).fetch(keys, self.tools.clock.now())

    async def find(self, writes: Sequence[Write]) -> Sequence[FindResult]:
        """Look writes of unknown outcome up: a customer by its code, a receipt by its external code, else by id."""
        results: dict[int, FindResult] = {}
        for name in dict.fromkeys(write.object for write in writes):
            alike = [write for write in writes if write.object == name]
            found = await self._books(name).find(alike)
            results.update((id(write), result) for write, result in zip(alike, found, strict=True))
        return [results[id(write)] for write in writes]

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Make one call per write: batches forget the key (6.22).

        Raises:
            IntegrityError: an answer was about another object; every write was made.
        """
        results = await asyncio.gather(*(self._write(write) for write in writes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    def receive(self, request: InboundRequest) -> Received:
        """Verify, decrypt and read a pushed event. Raises InboundRefused."""
        return self._door.receive(request)

    def _books(self, name: str) -> Merchants | Receipts:
        return self._merchants if name == "customer" else self._receipts

    async def _write(self, write: Write) -> WriteResult:
        try:
            if write.step == "save":
                ref = await self._books(write.object).save(write)
            else:
                ref = await self._receipts.act(write)
        except RemoteError as error:
            return await self._second_look(write, error)
        if write.step == "delete":
            return Gone(VendorKey(write.org, ref.vendor_id))  # what follows is a create (6.9)
        return _done(write, ref)

    async def _second_look(self, write: Write, error: RemoteError) -> WriteResult:
        """Read what a refusal is about before it is passed on (2.3: the texts of a step that was made already).

        Already as the step would leave it: applied. Another status than we knew: moved. Nothing there: gone.
        """
        if not isinstance(error, Refused) or error.cause not in READS_STATUS or write.ref is None:
            return Failed(error)
        try:
            if write.object == "customer":
                gone = error.cause is Cause.NOT_FOUND and await self._merchants.is_gone(write)
                return Gone(VendorKey(write.org, write.ref.vendor_id)) if gone else Failed(error)
            seen = await self._receipts.seen(write)
        except RemoteError:
            return Failed(error)
        if seen is None:
            return Gone(VendorKey(write.org, write.ref.vendor_id))
        if seen.stage in LEADS_TO.get(write.step, ()):
            return _done(write, seen)
        if write.step != "save" and seen.stage != write.ref.stage:
            known = {"vendor": error.vendor, "code": error.code, "detail": {"stage": seen.stage}}
            return Failed(Refused(str(error), cause=Cause.MOVED, **known))
        return Failed(error)


def _done(write: Write, ref: VendorRef) -> WriteResult:
    return Next(ref) if write.step != write.plan[-1] else Applied(ref)
