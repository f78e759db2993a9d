"""Who acts while the hub dies, as a process of its own: the CRM, and WeCom's users at their screens.

Every intent is on the disk before it is sent, every answer behind it (``intents.jsonl``). It ends at SIGTERM, or when
there were so many events (payments, acts of WeCom's users, edits); then it prints one JSON line of counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path

import httpx

from tests.chaos.approvals import Approvals, Deciders
from tests.chaos.children import come_first
from tests.chaos.payments import Payments
from tests.chaos.people import CALM, Editor, Users
from tests.chaos.sending import Sender

__all__ = ["client"]

NORTH = 0.3
"""The share of payments that the second company receives, where there is one."""


def client(base_url: str, token: str = "") -> httpx.AsyncClient:
    """Return a client of the hub's API, or of a sandbox's control door (which asks for no token)."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=base_url, headers=headers, timeout=10.0, trust_env=False)


async def _act(wanted: argparse.Namespace) -> dict[str, int]:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        client(wanted.api, wanted.token) as api, client(wanted.control) as control,
        client(wanted.dingtalk or "http://127.0.0.1") as dingtalk,
    ):  # fmt: skip
        sender = Sender(api, wanted.intents)
        payments = Payments(
            sender, customers=wanted.customers, rate=wanted.rate, seed=wanted.seed, lanes=wanted.lanes, zipf=wanted.zipf,
            poison=wanted.poison, north=NORTH if wanted.dingtalk else 0.0,
        )  # fmt: skip
        users = Users(
            control,
            rate=wanted.acts,
            seed=wanted.seed,
            people=wanted.people,
            zipf=wanted.zipf,
            batch=wanted.batch,
            waiting=wanted.waiting,
            backlog=wanted.backlog,
            left=lambda: wanted.events - done(),
        )
        editor = Editor(sender, rate=wanted.edits, seed=wanted.seed)
        approvals = Approvals(sender, customers=wanted.customers, rate=wanted.approvals, seed=wanted.seed)
        deciders = Deciders(dingtalk, control, seed=wanted.seed)
        asking = [approvals.run(stop), deciders.run(stop)] if wanted.dingtalk else []

        def done() -> int:
            return payments.number + users.done + editor.number + approvals.number + deciders.done

        async def enough() -> None:
            while not stop.is_set():
                written = wanted.progress.with_suffix(".new")
                written.write_text(f"{done()}\n")
                written.replace(wanted.progress)  # whole, whenever it is read
                if 0 < wanted.events <= done():
                    stop.set()
                await asyncio.sleep(0.5)

        await asyncio.gather(payments.run(stop), users.run(stop), editor.run(stop), enough(), *asking)
        return {
            "payments": payments.number,
            "accepted": payments.accepted,
            "acts": users.done,
            "edits": editor.number,
            "edits_accepted": editor.accepted,
            **({"approvals": approvals.accepted, "decisions": deciders.done} if asking else {}),
        }


def main() -> None:
    """Act until told to stop."""
    come_first()
    parser = argparse.ArgumentParser()
    parser.add_argument("--api", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument(
        "--dingtalk", default="", help="the door of control of DingTalk: approvals are asked for"
    )
    parser.add_argument("--approvals", type=float, default=1.0)
    parser.add_argument("--token", required=True)
    parser.add_argument("--intents", type=Path, required=True)
    parser.add_argument(
        "--progress", type=Path, required=True, help="a file that holds how many events there were"
    )
    parser.add_argument("--waiting", type=Path, help="a file that says how much waits in the hub")
    parser.add_argument("--backlog", type=int, default=CALM)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--acts", type=float, default=8.0)
    parser.add_argument("--edits", type=float, default=4.0)
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--people", type=int, default=0)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--zipf", type=float, default=0.0)
    parser.add_argument("--poison", type=float, default=0.0)
    print(json.dumps(asyncio.run(_act(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
