"""The play: real processes (sandbox, hub, commands), a CRM that remembers what it sent, the vendor's own list as judge."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx

from hub.clock import SystemClock
from hub.store import Store
from hub.store.secrets import put_secret
from hub.vault import Vault

__all__ = ["Site", "play", "site"]

ROOT = Path(__file__).parents[2]
TOKEN = "restore-token"
CUSTOMERS = 3
PATIENCE = 240.0
USCC = ("91440300708461136T", "91350100M000100Y43", "91110000802100433B")
TEXT = """
version: 1
regions: [cn, cn/south]
entities:
  demo: {{title: 示例科技（深圳）有限公司, connection: k3, orgs: {{use: "100"}}, currency: CNY}}
connections:
  crm: {{connector: api, region: cn/south, entity: demo}}
  k3:
    connector: kingdee
    region: cn/south
    settings:
      server_url: {url}/k3cloud/
      acct_id: ${{secret:k3-acct-id}}
      user_name: ${{secret:k3-user-name}}
      app_id: ${{secret:k3-app-id}}
      app_secret: ${{secret:k3-app-secret}}
      settle_after: 1
    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]
kinds:
  customer:
    match: [{{by: [uscc], confidence: sure}}]
syncs:
  k3.customer.out:
    {{target: k3.customer, mapping: kingdee/customer.out, mode: write, entity: demo, stop_at: audited, accept_window: true}}
  k3.customer.in: {{source: k3.customer, mapping: kingdee/customer.in, mode: write, entity: demo, schedule: 30s}}
  k3.payment.out:
    {{target: k3.receipt, mapping: kingdee/payment.out, mode: write, lane: money, entity: demo, stop_at: saved, on_audited: park}}
"""


@dataclass
class Site:
    """A project, its hub as a process, its commands, the vendor's control door."""

    folder: Path
    environment: dict[str, str]
    vendor: httpx.Client
    api: httpx.Client | None = None
    hub: subprocess.Popen[str] | None = None
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)

    def command(self, *words: str, code: int = 0) -> Any:
        """Run a command of the hub as a process; return its JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "hub", *words, "--output", "json"], env=self.environment, cwd=self.folder,
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout or done.stderr)

    def up(self) -> None:
        """Start the hub and wait until it serves."""
        with (self.folder / "hub.log").open("a") as log:
            self.hub = subprocess.Popen(
                [sys.executable, "-m", "hub", "up", "--output", "json"], env=self.environment, cwd=self.folder,
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.hub.stdout is not None
        told = _told(self.hub.stdout)
        self.api = httpx.Client(
            base_url=told["url"], headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False
        )

    def down(self, *, kill: bool = False) -> int:
        """Stop the hub."""
        if self.hub is None:
            return 0
        (self.hub.kill if kill else self.hub.terminate)()
        code = self.hub.wait(30)
        if self.hub.stdout is not None:
            self.hub.stdout.close()
        if self.api is not None:
            self.api.close()
        self.hub = None
        return code

    def put(self, kind: str, id_: str, body: dict[str, Any]) -> None:
        """Send as the CRM does, and remember it."""
        assert self.api is not None
        answer = self.api.put(f"/api/v1/{kind}/by-external/crm/{id_}", json=body)
        assert answer.is_success, answer.text
        self.sent[id_] = {"kind": kind, "body": body}

    def customer(self, number: int) -> None:
        body = {"name": f"示例科技{number}号有限公司", "uscc": USCC[number], "entity": "demo"}
        self.put("customers", f"C-{number}", body)

    def pay(self, numbers: Sequence[int]) -> None:
        """Send receipts."""
        for number in numbers:
            body = {
                "no": f"PAY-{number}", "customer": {"external": f"C-{number % CUSTOMERS}"}, "amount": f"{1000 + number}.00",
                "currency": "CNY", "received_on": "2026-01-10", "entity": "demo",
            }  # fmt: skip
            self.put("payments", f"P-{number}", body)

    def send_again(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            self.put(self.sent[id_]["kind"], id_, self.sent[id_]["body"])

    def booked(self) -> Counter[str]:
        """Return how often each receipt is in the vendor's books, by the CRM's number."""
        listed = self.vendor.get("/objects/AR_RECEIVEBILL").raise_for_status().text
        return Counter(re.findall(r'"FCOMMENT": ?"(PAY-\d+)"', listed))

    def customers(self) -> Counter[str]:
        listed = self.vendor.get("/objects/BD_Customer").raise_for_status().json()
        return Counter(one["FName"] for one in listed)

    def until(self, said: Callable[[], bool], what: str) -> None:
        """Wait until it is so."""
        end = time.monotonic() + PATIENCE
        while not said():
            assert time.monotonic() < end, f"{what}: {self.command('status')}"
            assert self.hub is None or self.hub.poll() is None, f"the hub ended: {what}"
            time.sleep(0.2)

    def ask(self, text: str) -> Any:
        """Return the one value of a statement, from the hub's store beside it: cheaper than a command."""
        store = Store.open(self.environment.get("HUB_STORE_URL") or f"sqlite:///{self.folder / 'data/hub.db'}", SystemClock())  # fmt: skip
        try:
            return store.read_now(lambda tx: (tx.cursor.execute(text), tx.cursor.fetchone()[0])[1])
        finally:
            store.close()

    def owed(self) -> int:
        """Return how much is owed."""
        return int(self.ask("SELECT count(*) FROM owed"))


@contextlib.contextmanager
def site(folder: Path, **environment: str) -> Iterator[Site]:
    """Give a project against a Kingdee of its own, nothing started yet but that."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUB_")}
    base = {**clean, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "HUB_LISTEN_OPS": "127.0.0.1:0",
            "HUB_LISTEN_HOOKS": "127.0.0.1:0", "HUB_DATA_DIR": str(folder / "data"), "HUB_PROJECT_DIR": str(folder),
            **environment}  # fmt: skip
    box = subprocess.Popen(
        [sys.executable, "-m", "hub", "sandbox", "kingdee", "--output", "json"], env=base, cwd=ROOT,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert box.stdout is not None
    made: Site | None = None
    try:
        about = _told(box.stdout)
        _prepare(folder, about, base)
        with httpx.Client(base_url=about["control_url"].rstrip("/"), trust_env=False) as vendor:
            made = Site(folder, base, vendor)
            yield made
    finally:
        if made is not None:
            made.down(kill=True)
        box.kill()
        box.wait()
        box.stdout.close()


def _told(out: IO[str]) -> Any:
    """Read the one JSON value with which a process says that it serves; it may take several lines."""
    text = ""
    for line in out:
        text += line
        with contextlib.suppress(ValueError):
            return json.loads(text)
    raise AssertionError(f"it ended: {text}")


def _prepare(folder: Path, about: dict[str, Any], environment: dict[str, str]) -> None:
    url = about["base_url"]
    (folder / "hub.yaml").write_text(TEXT.format(url=url, port=url.rpartition(":")[2]), "utf-8")
    shutil.copytree(ROOT / "mappings", folder / "mappings")
    data, clock = folder / "data", SystemClock()
    data.mkdir(mode=0o700)
    address = environment.get("HUB_STORE_URL") or f"sqlite:///{data / 'hub.db'}"
    store, vault = Store.open(address, clock), Vault.open(data / "key", clock)

    def put(tx: Any) -> None:
        for name in ("acct_id", "user_name", "app_id", "app_secret"):
            put_secret(tx, vault, f"k3-{name.replace('_', '-')}", str(about["credentials"][name]).encode())
        put_secret(tx, vault, "api-token", TOKEN.encode())

    store.run_now(put)
    store.close()


def play(at: Site, receipts: int) -> dict[str, Any]:
    """Back up, book receipts, restore, send everything again, resume; return the figures. Asserts what must hold."""
    early = max(2, receipts // 10)
    before, held, after = range(early), range(early, 2 * early), range(2 * early, 2 * early + receipts)
    at.up()
    for number in range(CUSTOMERS):
        at.customer(number)
    at.pay(before)
    at.until(lambda: len(at.booked()) == early, "the first receipts are booked")
    at.command("pause", "k3.payment.out")
    at.pay(held)
    at.command("backup", str(at.folder / "backup.zip"))
    at.command("resume", "k3.payment.out")
    at.pay(after)  # the time that will be lost
    total = 2 * early + receipts
    at.until(lambda: len(at.booked()) == total, "all receipts are booked")
    at.down(kill=True)
    at.command("restore", str(at.folder / "backup.zip"), code=1)  # it holds data
    at.command("restore", str(at.folder / "backup.zip"), "--force")
    at.up()
    assert at.api is not None
    ready = at.api.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["writes"]) == (503, False)
    assert at.command("writes", "show")["why"] == "restored"
    at.command("resume", "k3.payment.out")  # it was paused when the backup was made
    ids = list(at.sent)
    at.send_again(ids[: len(ids) // 2])
    new = range(total, total + 2)
    at.pay(new)  # what nobody has booked yet
    time.sleep(1.0)
    assert sum(at.booked().values()) == total, "something was sent while writes were stopped"
    at.command("writes", "resume")
    at.until(lambda: at.ask("SELECT writes FROM hub") == "open", "writes are open")
    assert at.command("writes", "show") == {"writes": "open"}
    at.send_again(ids[len(ids) // 2 :])
    at.until(lambda: at.owed() == 0, "nothing is owed any more")
    booked = at.booked()
    doubled = [no for no, count in booked.items() if count > 1]
    missing = [f"PAY-{number}" for number in range(total + 2) if f"PAY-{number}" not in booked]
    at.down()
    return {
        "receipts": receipts, "sent_again": len(ids), "booked": sum(booked.values()), "doubled": len(doubled),
        "missing": len(missing), "customers_doubled": sum(count > 1 for count in at.customers().values()),
        "ok": not doubled and not missing and set(at.customers().values()) == {1},
    }  # fmt: skip
