"""`make bench`: measure every path, print the table, write `benchmarks/results.json` (not kept in git).

    python -m benchmarks [--only NAME]...     NAME: a module of this folder, or a part of a path

Exit 0 whatever is measured: times are shown here, never asserted. Missed budgets are listed with their reason; the
profiles behind the reasons are in docs/performance.md.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import platform
import sys
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row

RESULTS = Path(__file__).with_name("results.json")
MODULES = (
    "mapping",
    "mapping_large",
    "peers",
    "log",
    "kafka",
    "http_client",
    "take",
    "claim_settle",
    "accept",
    "api_receipt",
    "callback",
    "hook_to_call",
    "process",
    "backfill",
    "growth",
    "workers",
    "live",
)
REASONS = {
    "claim + settle": "SQL is a third of our CPU; the rest renders, seals, digests, decides and tells, while the loop writes constants",
    "take": "a flat profile: SQL a third, the rest identity, merge, digests, sealing and acts, no function above 6 %",
    "http client": "the deadline, address, size and secret checks of each call",
    "mapping, compile": "reading YAML with its places 2.5 ms, Python's own compiler 2 ms",
    "mapping": "checks of type and length that hand-written code leaves out",
    "embedded log": "one more thread hop a batch than the loop",
    "Kafka": "one consumer for each partition, a thread hop a batch, and text made of keys and headers",
    "webhook accept at": "caller, door and taker share the cores; the cause was not found out, see docs/performance.md",
    "webhook → map → one call a record": "not profiled yet",
    "callback → customer → Kingdee": "not profiled yet",
    "growth": "on SQLite an xref is written back with all its columns, so three more indexes are touched at random places",
    "deliveries": "the processors, not the vendor, are the limit: is something else running?",
    "live change": "behind a backfill it waits twice for a batch of it, see docs/performance.md",
    "hub up": "imports (python -X importtime) and the migration check",
}


def is_met(row: Row) -> bool | None:
    """Say whether the budget is met: a ratio reaches it, a figure without a limit stays below it; None: no budget."""
    if row["budget"] is None:
        return None
    return bool(row["rate"] <= row["budget"] if row["ratio"] is None else row["ratio"] >= row["budget"])


def measured(names: list[str]) -> list[Row]:
    """Run the modules one after the other; one that fails is said and left out."""
    found: list[Row] = []
    log = logging.getLogger("benchmarks")
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.{name}")
        try:
            found += module.run()
        except Exception:
            log.exception("%s could not be measured", name)
    return found


def table(rows: list[Row]) -> Table:
    """Lay the rows out: path, rate, limit, ratio, budget, ok."""
    shown = Table(title=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in ("path", "rate", "limit", "ratio", "budget", "ok"):
        shown.add_column(name, justify="left" if name == "path" else "right")
    for row in rows:
        sign = "≤" if row["ratio"] is None else "≥"
        budget = "" if row["budget"] is None else f"{sign} {row['budget']:g}"
        met = {True: "yes", False: "[red]no[/red]", None: ""}[is_met(row)]
        limit, ratio = ("" if row[name] is None else f"{row[name]:,}" for name in ("limit", "ratio"))
        shown.add_row(row["path"], f"{row['rate']:,} {row['unit']}", limit, ratio, budget, met)
    return shown


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", action="append", choices=MODULES, metavar="NAME", help=", ".join(MODULES))
    names = parser.parse_args().only or list(MODULES)
    rows = measured(names)
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table(rows))
    for row in rows:
        if is_met(row) is False:
            reason = next(
                (why for path, why in REASONS.items() if row["path"].startswith(path)),
                "see docs/performance.md",
            )
            console.print(f"missed: {row['path']}: {reason}")
    RESULTS.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")
    console.print(
        f"written: {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
