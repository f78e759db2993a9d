"""The command line over a project of its own, with a scripted Kingdee, in this process or as real ones."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from typer.testing import CliRunner

from hub import registry
from hub.cli.app import build
from hub.cli.session import Session
from hub.crm.external import ExternalWrite
from hub.errors import Cause, OutcomeUnknown, Refused
from hub.pipe.accept import accept
from hub.pipe.work import Worker
from hub.sdk.connector import (
    Applied,
    CannotTell,
    CheckReport,
    Connector,
    Failed,
    FindResult,
    Next,
    Page,
    SourceRecord,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
)
from hub.wiring import Hub
from tests.stores import ask

ROOT = Path(__file__).resolve().parents[2]
NAME = "示例科技有限公司"
PAYMENT = {
    "no": "PAY-1",
    "amount": "1000.00",
    "currency": "CNY",
    "received_on": "2026-01-10",
    "entity": "demo",
}

Fate = Callable[[Write], Failed | None]


def happy(_write: Write) -> None:
    """Let everything succeed."""


def refuse(obj: str, name: str = "FREMARK", cause: Cause = Cause.INVALID) -> Fate:
    """Refuse every write of an object, naming a field."""
    error = Refused("not like this", cause=cause, code="9", field=name)
    return lambda write: Failed(error) if write.object == obj else None


def lose(obj: str) -> Fate:
    """Give no usable answer to any write of an object."""
    return lambda write: Failed(OutcomeUnknown("cut off")) if write.object == obj else None


class Scripted(Connector):
    """A Kingdee that does as it is told and remembers what it booked."""

    spec: ClassVar = registry.specs()["kingdee"]

    def __init__(self) -> None:
        self.fate: Fate = happy
        self.booked: list[Write] = []
        self._ids: dict[str, str] = {}

    async def check(self) -> CheckReport:
        return CheckReport(())

    async def write(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        return [self._one(write) for write in writes]

    def _one(self, write: Write) -> WriteResult:
        if failed := self.fate(write):
            return failed
        self.booked.append(write)
        id_ = self._ids.setdefault(write.business_key, str(100_000 + len(self._ids)))
        number = write.payload.get("FNumber") if write.object == "customer" else f"SKD{id_}"
        stage = {"save": "A", "submit": "B", "audit": "C"}.get(write.step, "D")
        ref = VendorRef(id_, number if isinstance(number, str) else None, stage)
        return Applied(ref) if write.step == write.plan[-1] else Next(ref)

    async def find(self, writes: Sequence[Write]) -> Sequence[FindResult]:
        return [CannotTell("no answer") for _ in writes]

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Failed]:
        return [Failed(Refused("none")) for _ in keys]

    async def read(self, stream: str, after: Any, *, org: str = "") -> Any:
        yield Page([], after)


@dataclass
class Site:
    """A project folder, its data folder, and the commands on them."""

    folder: Path
    kingdee: Scripted = field(default_factory=Scripted)

    @property
    def data(self) -> Path:
        return self.folder / "var"

    def cli(self, *args: str, code: int = 0, lang: str = "en", given: str | None = None) -> str:
        """Run a command in this process; return what it printed, both streams."""
        where = ["--project", str(self.folder), "--data", str(self.data)]
        result = CliRunner().invoke(build(lang), [*where, *args], input=given)
        assert result.exit_code == code, f"exit {result.exit_code}\n{result.output}\n{result.exception!r}"
        return result.output

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self.cli(*args, "--output", "json", code=code))

    @contextmanager
    def hub(self) -> Iterator[Hub]:
        with Session(self.folder, self.data, "en", "table").hub(create=True) as opened:
            yield opened

    def put(self, kind: str, id_: str, **body: Any) -> Any:
        """Send a record as the CRM does."""
        with self.hub() as hub:
            return hub.store.run_now(
                accept, ExternalWrite("crm", kind, id_, body, "cn/south/", "demo"), hub.world
            )

    def customer(self, id_: str = "C-1", **body: Any) -> str:
        known = {"name": NAME, "uscc": "91440300708461136T", "entity": "demo"}
        return self.put("customer", id_, **{**known, **body}).record_id.hex()

    def pay(self, customer: str, id_: str = "P-1", **body: Any) -> str:
        return self.put("payment", id_, **{**PAYMENT, "customer": customer, **body}).record_id.hex()

    def work(self, fate: Fate = happy) -> None:
        """Work off everything that is due."""
        self.kingdee.fate = fate
        with self.hub() as hub:
            asyncio.run(self._work(hub))

    async def _work(self, hub: Hub) -> None:
        workers = [Worker(hub.store, hub.world, hub.clock, "w1", "k3", self.kingdee),
                   Worker(hub.store, hub.world, hub.clock, "w1", "crm", None)]  # fmt: skip
        for _ in range(20):
            if not any([await worker.turn(lane, 50) for worker in workers for lane in (0, 1, 2)]):
                return

    def ask(self, text: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.hub() as hub:
            return hub.store.run_now(ask, text, *params)

    def letters(self, *args: str) -> list[dict[str, Any]]:
        return self.json("dlq", "list", *args)["dead_letters"]

    def spawn(self, *args: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command as a process of its own."""
        where = ["--project", str(self.folder), "--data", str(self.data)]
        return subprocess.Popen(
            [sys.executable, "-m", "hub", *where, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=ROOT, env={**os.environ, "LANG": "C.UTF-8", **environment},
        )  # fmt: skip


def make_site(folder: Path, *, url: str = "http://127.0.0.1:9/") -> Site:
    """Copy the repository's own project, pointed at another Kingdee."""
    text = (ROOT / "hub.yaml").read_text("utf-8")
    port = url.rstrip("/").rpartition(":")[2]
    (folder / "hub.yaml").write_text(text.replace("9401", port), "utf-8")
    shutil.copytree(ROOT / "mappings", folder / "mappings")
    return Site(folder)
