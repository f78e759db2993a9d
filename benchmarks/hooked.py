"""The smallest system that calls us and is called: a signed JSON body in, one PUT a record out.

`benchmarks.hook_to_call` measures the pipe with it, for its own cost is next to nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from typing import ClassVar

import orjson

from hub.sdk import (
    Applied,
    Cause,
    CheckReport,
    Connector,
    ConnectorSpec,
    Delivery,
    Failed,
    InboundEvent,
    InboundRefused,
    InboundRequest,
    ObjectSpec,
    OutcomeUnknown,
    Received,
    RemoteError,
    SettingSpec,
    SourceRecord,
    Step,
    StreamSpec,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
)

__all__ = ["HEADER", "HookedConnector", "signed"]

HEADER = "x-signature"
FIELDS = {"name": "text", "phone": "text", "street": "text", "remark": "text"}


def signed(key: str, body: bytes) -> str:
    """Return what stands in :data:`HEADER`."""
    return hmac.digest(key.encode(), body, hashlib.sha256).hex()


class HookedConnector(Connector):
    """One such system."""

    spec: ClassVar[ConnectorSpec] = ConnectorSpec(
        name="hooked",
        title_zh="回调系统",
        title_en="Hooked",
        settings=(
            SettingSpec("url", "text", "地址", "Where a record is put; its number follows"),
            SettingSpec("key", "text", "密钥", "Signs bodies"),
        ),
        streams={
            "lead": StreamSpec(
                "lead", "线索", "Lead", ("id",), {"id": "text", **FIELDS}, fetchable=False, receive=True
            )
        },
        objects={
            "lead": ObjectSpec(
                "lead", "线索", "Lead", FIELDS, {"save": Step("save", Delivery.PUT)}, settle_after=5.0
            )
        },
    )

    async def check(self) -> CheckReport:
        """There is nothing to test."""
        return CheckReport(())

    def receive(self, request: InboundRequest) -> Received:
        """Verify and read one lead."""
        given = request.headers.get(HEADER, "")
        if not hmac.compare_digest(given.encode(), signed(self.settings["key"], request.body).encode()):
            raise InboundRefused
        body = orjson.loads(request.body)
        key = VendorKey("", body["id"])
        record = SourceRecord(key, body, request.now)
        return Received((InboundEvent("lead", key, body["id"], "lead", record),))

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Put each record by a call of its own."""
        return await asyncio.gather(*map(self._write, writes))

    async def _write(self, write: Write) -> WriteResult:
        try:
            answer = await self.tools.http.request(
                "PUT",
                self.settings["url"] + write.business_key,
                content=orjson.dumps(write.payload),
                headers={"Content-Type": "application/json"},
                deadline=write.deadline,
            )
        except RemoteError as error:
            return Failed(error)
        if answer.status != 200:
            return Failed(OutcomeUnknown(f"HTTP {answer.status}", cause=Cause.BAD_ANSWER))
        return Applied(VendorRef(write.business_key))
