"""`make chaos`: receipts under lost answers and late effects, the hub killed again and again, then the judge.

Three processes with files of their own: this generator, the hub (killed with SIGKILL two seconds after each ready)
and the vendor's sandbox, whose ledger is never killed. `python -m tests.chaos --help` lists the knobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from hub.clock import SystemClock
from hub.store import Store
from hub.store.secrets import put_secret
from hub.vault import Vault
from tests.chaos.judge import judge, read_lines

ROOT = Path(__file__).parents[2]
CREDIT_CODE = "91350100M000100Y43"
TOKEN = "chaos-token"
SECRETS = {
    "acct_id": "k3-acct-id",
    "user_name": "k3-user-name",
    "app_id": "k3-app-id",
    "app_secret": "k3-app-secret",
}


class Run:
    """One run: its folder, its processes, what was intended."""

    def __init__(self, wanted: argparse.Namespace, folder: Path) -> None:
        self.wanted = wanted
        self.folder = folder
        self.random = random.Random(wanted.seed)
        self.port = _free_port()
        self.kills = 0
        self.number = 0
        self.stop = asyncio.Event()
        self.intents = (folder / "intents.jsonl").open("a")

    def prepare(self, site: dict[str, Any]) -> None:
        """Write a project whose Kingdee is the sandbox, and the secrets."""
        text = (ROOT / "hub.yaml").read_text()
        port = site["base_url"].rsplit(":", 1)[1]
        text = text.replace("9401", port).replace(
            "settle_after: 5 ", f"settle_after: {self.wanted.settle_after} "
        )
        (self.folder / "hub.yaml").write_text(text)
        shutil.copytree(ROOT / "mappings", self.folder / "mappings")
        clock = SystemClock()
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        store, vault = Store.open(f"sqlite:///{data / 'hub.db'}", clock), Vault.open(data / "key", clock)

        def put(tx: Any) -> None:
            for key, name in SECRETS.items():
                put_secret(tx, vault, name, str(site["credentials"][key]).encode())
            put_secret(tx, vault, "api-token", TOKEN.encode())

        store.run_now(put)
        store.close()

    async def hub(self) -> asyncio.subprocess.Process:
        """Start the hub and wait until it is ready."""
        environment = {
            **os.environ,
            "HUB_DATA_DIR": str(self.folder / "data"),
            "HUB_PROJECT_DIR": str(self.folder),
            "HUB_LISTEN_OPS": f"127.0.0.1:{self.port}",
        }
        log = (self.folder / "hub.log").open("a")
        victim = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.victim", stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT,
            env=environment,
        )  # fmt: skip
        assert victim.stdout is not None
        line = await victim.stdout.readline()
        if line.strip() != b"ready":
            raise SystemExit(f"the hub did not start:\n{(self.folder / 'hub.log').read_text()[-3000:]}")
        return victim

    async def killer(self) -> asyncio.subprocess.Process:
        """Kill the hub two seconds after each ready until the time is up; return the one that lives."""
        ends = time.monotonic() + self.wanted.seconds
        while True:
            victim = await self.hub()
            if time.monotonic() >= ends:
                return victim
            await asyncio.sleep(self.wanted.alive)
            victim.send_signal(signal.SIGKILL)
            await victim.wait()
            self.kills += 1

    def intend(self, **line: Any) -> None:
        """Write an intent or its answer, and make it durable before anything else."""
        self.intents.write(json.dumps(line) + "\n")
        self.intents.flush()
        os.fsync(self.intents.fileno())

    async def generate(self) -> None:
        """Send customers and payments until told to stop; what got no answer stays unknown and is not sent again."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        base = f"http://127.0.0.1:{self.port}/api/v1"
        async with httpx.AsyncClient(headers=headers, timeout=10.0) as client:
            for customer in range(self.wanted.customers):
                body = {"name": f"示例{customer}号有限公司", "uscc": _credit_code(customer)}
                while not await self._put(client, f"{base}/customers/by-external/crm/C-{customer}", body):
                    await asyncio.sleep(0.1)
            while not self.stop.is_set():
                await self._payment(client, base)
                await asyncio.sleep(1 / self.wanted.rate)

    async def _payment(self, client: httpx.AsyncClient, base: str) -> None:
        self.number += 1
        no, amount = (
            f"PAY-{self.number}",
            f"{self.random.randint(1, 99_999)}.{self.random.randint(0, 99):02d}",
        )
        body = {
            "no": no, "amount": amount, "currency": "CNY", "received_on": "2026-01-10", "method": "bank",
            "account_no": "ACC-001", "customer": {"external": f"C-{self.random.randrange(self.wanted.customers)}"},
        }  # fmt: skip
        self.intend(no=no, amount=amount)
        answer = await self._put(client, f"{base}/payments/by-external/crm/{no}", body)
        self.intend(no=no, amount=amount, answer=answer or "unknown")

    async def _put(self, client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> str | None:
        try:
            answer = await client.put(url, json=body)
        except httpx.HTTPError:
            return None
        if answer.status_code in (200, 201):
            return "ok"
        return "refused" if answer.status_code in (409, 422) else None

    async def drain(self) -> float:
        """Wait until nothing is owed but what a person must see; return the seconds it took."""
        started = time.monotonic()
        store = Store.open(f"sqlite:///{self.folder / 'data' / 'hub.db'}", SystemClock())
        try:
            while True:
                rows = store.read_now(_owed_states)
                busy = sum(count for state, count in rows.items() if state != "parked")
                if not busy:
                    self.parked = rows.get("parked", 0)
                    return time.monotonic() - started
                if time.monotonic() - started > self.wanted.drain:
                    raise SystemExit(f"not drained after {self.wanted.drain} s: {rows}")
                await asyncio.sleep(0.5)
        finally:
            store.close()


def _owed_states(tx: Any) -> dict[str, int]:
    tx.cursor.execute("SELECT state, count(*) FROM owed GROUP BY state")
    return dict(tx.cursor.fetchall())


_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def _credit_code(number: int) -> str:
    """Compose a credit code with the check character of GB 32100-2015, written apart from the hub's own."""
    head = f"91440300MA{number:07d}"
    total = sum(_SIGNS.index(sign) * weight for sign, weight in zip(head, _WEIGHTS, strict=True))
    return head + _SIGNS[(31 - total % 31) % 31]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _site(
    wanted: argparse.Namespace, folder: Path
) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.site", "--state", str(folder / "site.jsonl"), "--drop", str(wanted.drop),
        "--late", str(wanted.late), "--late-by", str(wanted.late_by), "--seed", str(wanted.seed),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    return process, json.loads(await process.stdout.readline())


async def play(wanted: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run it all and return the report."""
    site, about = await _site(wanted, folder)
    run = Run(wanted, folder)
    run.prepare(about)
    generating = asyncio.ensure_future(run.generate())
    victim = await run.killer()
    run.stop.set()
    await generating
    drained = await run.drain()
    async with httpx.AsyncClient() as client:
        effects = (await client.get(about["ledger"])).json()
    victim.send_signal(signal.SIGTERM)
    code = await asyncio.wait_for(victim.wait(), 20)
    site.terminate()
    await site.wait()
    lines = judge(
        read_lines(folder / "intents.jsonl"), effects if isinstance(effects, list) else effects["effects"]
    )
    audit = await _verify(folder / "data")
    return {
        "seed": wanted.seed, "payments": run.number, "kills": run.kills, "parked": run.parked,
        "drained_seconds": round(drained, 1), "stopped_with": code, "audit": audit,
        "violations": sum(len(line["violations"]) for line in lines), "invariants": lines,
    }  # fmt: skip


async def _verify(data: Path) -> str:
    verifier = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "hub" / "audit" / "verify.py"), str(data / "hub.db"),
        "--public-key", str(data / "audit.pub"), "--heads", str(data / "seals.log"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await verifier.communicate()
    return "ok" if verifier.returncode == 0 else out.decode()[-300:]


def main() -> int:
    """Parse the knobs, play, print one JSON line per invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=180.0, help="how long the killing goes on")
    parser.add_argument("--alive", type=float, default=2.0, help="seconds from ready to kill -9")
    parser.add_argument("--rate", type=float, default=20.0, help="payments per second")
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--drop", type=float, default=0.3, help="applied, answer cut off")
    parser.add_argument("--late", type=float, default=0.3, help="no answer, applied later")
    parser.add_argument("--late-by", type=float, default=1.5)
    parser.add_argument("--settle-after", type=float, default=3.0)
    parser.add_argument("--drain", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look")
    wanted = parser.parse_args()
    print(
        f"seed {wanted.seed}: {wanted.seconds:.0f} s, kill -9 {wanted.alive} s after each ready", flush=True
    )
    folder = Path(tempfile.mkdtemp(prefix="hub-chaos-"))
    report = asyncio.run(play(wanted, folder))
    for line in report.pop("invariants"):
        print(
            json.dumps(
                {**line, "violations": len(line["violations"]), "which": line["violations"][:5]},
                ensure_ascii=False,
            )
        )
    print(json.dumps(report, ensure_ascii=False))
    if wanted.keep or report["violations"]:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if report["violations"] or report["audit"] != "ok" else 0


if __name__ == "__main__":
    sys.exit(main())
