"""The embedded log, batches of 100 made durable one after the other, beside a hand-written sqlite3 loop."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path

from hub.bus import INBOUND, Log, Message
from hub.clock import SystemClock

BATCHES, SIZE = 400, 100
BUDGET = 0.5
ROUNDS = 5  # the two loops take turns, so that a slow moment of the machine meets both
HEADERS = {"ce_specversion": "1.0", "ce_id": "0199c0de-0000-7000-8000-000000000001", "ce_type": "hub.inbound"}
BODY = b'{"FNumber": "C000123", "FName": "' + b"x" * 120 + b'"}'


def batches() -> list[list[Message]]:
    """Return what either loop appends."""
    return [
        [Message(f"k3/customer/{batch * SIZE + row}", HEADERS, BODY) for row in range(SIZE)]
        for batch in range(BATCHES)
    ]


async def ours(folder: Path, work: list[list[Message]]) -> float:
    """Return seconds for the log."""
    log = Log.open(folder / "bus.db", SystemClock())
    started = time.perf_counter()
    for messages in work:
        await log.publish(INBOUND, messages)
    seconds = time.perf_counter() - started
    await log.aclose()
    return seconds


def hand_written(folder: Path, work: list[list[Message]]) -> float:
    """Return seconds for the shortest loop that does the same to the disk."""
    conn = sqlite3.connect(folder / "bare.db", isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute(
        'CREATE TABLE events (topic TEXT, "partition" INTEGER, "offset" INTEGER, at INTEGER, key TEXT, headers TEXT, '
        'body BLOB, PRIMARY KEY (topic, "partition", "offset"))'
    )
    headers = json.dumps(HEADERS)
    started = time.perf_counter()
    offset = 0
    for messages in work:
        conn.execute("BEGIN IMMEDIATE")
        rows = [(INBOUND, 0, offset + i, 0, m.key, headers, m.body) for i, m in enumerate(messages)]
        conn.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        conn.execute("COMMIT")
        offset += len(rows)
    seconds = time.perf_counter() - started
    conn.close()
    return seconds


def run() -> list[dict[str, object]]:
    """Measure; the best round of each counts."""
    work = batches()
    best = {"ours": float("inf"), "limit": float("inf")}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            best["limit"] = min(best["limit"], hand_written(Path(name), work))
            best["ours"] = min(best["ours"], asyncio.run(ours(Path(name), work)))
    rate, limit = BATCHES * SIZE / best["ours"], BATCHES * SIZE / best["limit"]
    return [
        {
            "path": "embedded log, fsynced batches of 100",
            "rate": round(rate),
            "limit": round(limit),
            "ratio": round(rate / limit, 2),
            "budget": BUDGET,
            "unit": "rows/s",
        }
    ]


if __name__ == "__main__":
    for line in run():
        print(json.dumps(line))
