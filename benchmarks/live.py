"""How long one live change takes from the API call to the vendor's ledger: alone, and beside what may stand in its way.

    python -m benchmarks.live [--engine embedded] [--seconds 30] [--case hot]

PER_SECOND customers a second, of KEYS that the vendor has, get a new remark through the API; late is from the start of
the call to the effect, both by this machine's clock; Kingdee's sandbox takes 50 ms for a call. Beside it:
- hot: one more customer is edited by one caller as fast as the hub answers;
- dead: another site, at which nobody answers, is owed 200,000 customers, which come as copies of one that was written
  through the API and of its debt; the connection is paused by the time it counts, and probed;
- backfill: `hub run wecom.follow.in` reads PEOPLE people and half as many relations again, which are taken in.
Before each of them the same is measured alone; each p95 is told as a multiple of the p95 of all that was measured alone.

Embedded the hub is one process; on Kafka and PostgreSQL a console, a gateway and a worker.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import orjson

from benchmarks.customers import Office, office, project
from benchmarks.measure import Row, row
from benchmarks.people import Look, at, corp
from benchmarks.running import EMBEDDED, Running, engines, running_hub
from hub.clock import SystemClock
from hub.store import Store, Tx, sql
from hub.store.rows import OWED_BORN, RECORD_COLUMNS
from hub.store.schema import owed, records
from hub.vault import Vault

PER_SECOND, SECONDS, KEYS = 4, 30.0, 40
SLOW_MS = 50.0
SESSIONS = 3
OWED = 200_000
PEOPLE, EMPLOYEES = 20_000, 20
LATE = 2.0
ROLES = {True: ("all",), False: ("console", "gateway", "worker")}
PATIENCE = 120.0
AT_ONCE = 5_000

_insert_records = sql.bulk_insert(records, RECORD_COLUMNS)
_insert_owed = sql.bulk_insert(owed, OWED_BORN)


class Changes:
    """Edits of customers that the vendor has, and when each was seen there."""

    def __init__(self, desk: Office) -> None:
        """Take the two sides."""
        self._desk = desk
        self._numbers = itertools.count(1)

    async def during(self, seconds: float) -> list[float]:
        """Make changes for so long, wait until the last is there, return how late each was (s)."""
        due, until = time.perf_counter(), time.perf_counter() + seconds
        sent: dict[int, tuple[int, int]] = {}
        calls = set()
        while due < until:
            number = next(self._numbers)
            sent[number] = (number % KEYS, time.time_ns() // 1000)
            calls.add(asyncio.ensure_future(self._desk.put(number % KEYS, f"edit {number}")))
            due += 1 / PER_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await asyncio.gather(*calls)
        return await self._seen(sent)

    async def _seen(self, sent: dict[int, tuple[int, int]]) -> list[float]:
        """A change is there with the first effect that shows it or a later one of the same customer."""
        names = {f"示例科技{key}号有限公司": key for key in range(KEYS)}
        shown: dict[int, list[tuple[int, int]]] = defaultdict(list)
        until = time.perf_counter() + PATIENCE
        while True:
            for one in await self._desk.effects():
                key, (_, _, number) = (
                    names.get(one["fields"]["FName"]),
                    one["fields"]["FDescription"].partition(" "),
                )
                if key is not None and number.isdigit():
                    shown[key].append((int(number), one["at"]))
            seen = {
                number: min((when for which, when in shown[key] if which >= number), default=None)
                for number, (key, _) in sent.items()
            }
            if None not in seen.values():
                return [(when - sent[number][1]) / 1e6 for number, when in seen.items() if when is not None]
            if time.perf_counter() > until:
                raise RuntimeError(
                    f"{list(seen.values()).count(None)} of {len(sent)} changes are not at the vendor"
                )
            await asyncio.sleep(0.5)


# what stands beside -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _hot(hub: Running, desk: Office) -> AsyncIterator[Callable[[], str]]:
    edits, stop = 0, False

    async def edit() -> None:
        nonlocal edits
        while not stop:
            await desk.put("hot", f"again {edits}")
            edits += 1

    began, editing = time.perf_counter(), asyncio.ensure_future(edit())
    yield lambda: f"{edits / (time.perf_counter() - began):.0f} edits a second"
    stop = True
    await editing


@contextlib.asynccontextmanager
async def _dead(hub: Running, desk: Office) -> AsyncIterator[Callable[[], str]]:
    await desk.put("first", "for nobody", system="lost")
    clock = SystemClock()
    store, vault = Store.open(hub.store, clock), Vault.open(hub.folder / "var" / "key", clock)
    try:
        for _ in range(0, OWED, AT_ONCE):
            await store.run(_owe, vault)
    finally:
        await store.aclose()
    with contextlib.closing(Look(hub)) as look:
        until = time.perf_counter() + PATIENCE
        while look.one("SELECT state FROM connections WHERE name = 'dead'") != "paused":
            if time.perf_counter() > until:
                raise RuntimeError("the dead connection was not paused")
            await asyncio.sleep(0.2)
        left = look.one("SELECT count(*) FROM owed WHERE sync = 'dead.customer.out'")
        if left < OWED:
            raise RuntimeError(f"{left} of {OWED} rows are owed")
        yield lambda: f"{left:,} rows owed"


def _owe(tx: Tx, vault: Vault) -> None:
    """Copy a customer of the dead site and its debt, as the API wrote them."""

    def one(columns: str, rest: str) -> tuple[object, ...]:
        tx.cursor.execute(f"SELECT {', '.join(columns.split())} FROM {rest}")
        return tuple(tx.cursor.fetchone())

    record = one(RECORD_COLUMNS, "records WHERE region = 'cn/dead/' LIMIT 1")
    debt = one(OWED_BORN, "owed WHERE sync = 'dead.customer.out' LIMIT 1")
    places = {name: place for place, name in enumerate(OWED_BORN.split())}
    made: list[tuple[object, ...]] = []
    owing: list[tuple[object, ...]] = []
    for _ in range(AT_ONCE):
        id_ = tx.clock.new_id()
        made.append((id_, *record[1:9], vault.new_data_key(id_)[1], record[10]))
        row = list(debt)
        target = str(row[places["target"]]).rpartition("/")[0]
        for name, value in (
            ("id", tx.clock.new_id()), ("subject", id_.hex()), ("target", f"{target}/{id_.hex()}"), ("state", "ready"),
            ("due", tx.now), ("since", tx.now), ("attempts", 0), ("deaths", 0), ("cause", None),
        ):  # fmt: skip
            row[places[name]] = value
        owing.append(tuple(row))
    _insert_records(tx, made)
    _insert_owed(tx, owing)


@contextlib.asynccontextmanager
async def _backfill(hub: Running, desk: Office) -> AsyncIterator[Callable[[], str]]:
    with contextlib.ExitStack() as stack:
        look = stack.enter_context(contextlib.closing(Look(hub)))
        async with corp(hub) as door:
            await door.seed(PEOPLE, PEOPLE * 3 // 2, EMPLOYEES)
        reader = hub.command(stack, "run", "wecom.follow.in")
        before = look.taken()
        while look.taken() == before:
            if reader.poll() not in (None, 0):
                raise RuntimeError(f"hub run ended with {reader.returncode}: {hub.log.read_text()[-2000:]}")
            await asyncio.sleep(0.1)
        first, began = look.taken(), time.perf_counter()

        def told() -> str:
            ended = " (it ended before)" if reader.poll() is not None else ""
            return (
                f"{(look.taken() - first) / (time.perf_counter() - began):.0f} messages taken a second{ended}"
            )

        yield told


CASES = {"hot": _hot, "dead": _dead, "backfill": _backfill}
NAMES = {"hot": "a hot key", "dead": "a dead vendor", "backfill": "a running backfill"}


# the measuring ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _started(engine: str) -> Iterator[Running]:
    with running_hub(project(SESSIONS), engine=engine, roles=ROLES[engine == EMBEDDED]) as hub:
        yield hub


async def _measure(engine: str, seconds: float, cases: Sequence[str]) -> dict[str, tuple[list[float], str]]:
    """Return case -> how late each change was (s), and what stood beside; "" is alone."""
    found: dict[str, tuple[list[float], str]] = {"": ([], "")}
    started = _started(engine)
    hub = await asyncio.to_thread(started.__enter__)
    try:
        async with office(hub) as desk:
            await desk.slow(SLOW_MS)
            await desk.put_all([*range(KEYS)], "first")
            await desk.put("hot", "first")
            await desk.until(KEYS + 1, lambda one: one["verb"] == "create")
            changes = Changes(desk)
            await changes.during(5.0)  # warms up
            for case in cases:
                found[""][0].extend(await changes.during(seconds))
                async with CASES[case](hub, desk) as told:
                    late = await changes.during(seconds)
                    found[case] = (late, told())
                print(f"  {engine}, {case}: p50 {at(late, 0.5):.3f}, p95 {at(late, 0.95):.3f} s, {found[case][1]}; "
                      f"alone p95 {at(found[''][0], 0.95):.3f} s", file=sys.stderr, flush=True)  # fmt: skip
    finally:
        await asyncio.to_thread(started.__exit__, None, None, None)
    return found


def run(seconds: float = SECONDS, only: Sequence[str] = (), cases: Sequence[str] = tuple(CASES)) -> list[Row]:
    """Measure on every pair of engines."""
    found = []
    for engine in engines():
        if only and engine not in only:
            continue
        late = asyncio.run(_measure(engine, seconds, cases))
        name = f"live change, API to vendor, {engine}"
        alone = at(late[""][0], 0.95)
        found.append(
            row(
                f"{name}, alone: p95 ({len(late[''][0])} changes; p50 {at(late[''][0], 0.5):.3f})",
                alone,
                None,
                None,
                "s",
            )
        )
        for case, (values, beside) in late.items():
            if case:
                p50, p95 = at(values, 0.5), at(values, 0.95)
                told = f"{len(values)} changes, {beside}; p50 {p50:.3f} s, p95 {p95:.3f} s"
                found.append(
                    row(
                        f"{name}, beside {NAMES[case]}: p95 over alone ({told})", p95 / alone, None, LATE, "×"
                    )
                )
    return found


def quick() -> list[Row]:
    """Measure a little."""
    return run(3.0, (EMBEDDED,), ("hot",))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each part")
    parser.add_argument("--engine", action="append", default=[], help="embedded; default: both pairs")
    parser.add_argument("--case", action="append", choices=CASES, default=[])
    options = parser.parse_args()
    found = run(options.seconds, options.engine, options.case or tuple(CASES))
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
