"""``hub run``: read an inbound sync now, all of it or what changed, with progress; or only look how much it is."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from hub import wiring
from hub.cli.bus import said_astray
from hub.cli.screen import duration, plain
from hub.cli.session import INTERRUPTED, NOT_TAKEN, PROBLEM, USAGE, Failure, Session
from hub.clock import SECOND, Clock
from hub.pipe.absence import confirm_absent
from hub.pipe.queries import count_parked, count_rereads, last_act
from hub.pipe.read import ReadReport, preview_stream, read_stream, reads_itself, streams_of
from hub.pipe.refusal import NotPossible, NotThere, Reason
from hub.project.values import Sync
from hub.wiring import Hub

__all__ = ["run"]

OFTEN, SELDOM = 1.0, 10.0
"""Seconds between two lines of progress: on a terminal, and in a log."""
IDLE = 5.0
"""Seconds without anything taken after which a run says what to do."""
WAIT = 60.0
"""Seconds without anything taken after which a run ends: a hub that is being started again needs a few of them."""
FEW_PAGES = 300
"""Pages that an estimate reads at most; at many vendors the first says it all."""
LEAST = 0.001
"""A share that is told in figures; a smaller one is "less than" it."""


@dataclass
class _Run:
    """One run: its report, its clock, and what is told meanwhile."""

    session: Session
    sync: Sync
    clock: Clock
    report: ReadReport
    wait: float | None = WAIT
    dry: bool = False
    titles: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stopped: int = 0
    began: float = 0.0
    told: float = float("-inf")
    first: tuple[float, float] | None = None
    rejected: int = 0
    quota: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    rereads: int = 0
    warned: bool = False

    @property
    def seconds(self) -> float:
        return self.clock.monotonic() - self.began

    @property
    def rate(self) -> float:
        return self.report.records / self.seconds if self.seconds > 0 else 0.0

    def left(self) -> int | None:
        """Return how long (µs) the rest will take at the pace so far, None while that cannot be said."""
        share = self.report.share
        if share is None:
            return None
        if self.first is None:
            self.first = (share, self.seconds)
        was, at = self.first
        if share <= was or self.seconds <= at:
            return None
        return int((1 - share) * (self.seconds - at) / (share - was) * SECOND)

    def tell(self, report: ReadReport) -> None:
        """Say how far it is, now and then, to people only."""
        left = self.left()
        self.stopped = report.waiting or self.stopped
        idle = report.waiting > 0 and report.idle >= IDLE
        at_once, self.warned = idle and not self.warned, idle
        pause = OFTEN if sys.stderr.isatty() else SELDOM
        if self.session.as_json or (self.seconds - self.told < pause and not at_once):
            return
        self.told = self.seconds
        self.session.screen.going(self._paused(report) if report.waiting else self._going(report, left))

    def _going(self, report: ReadReport, left: int | None) -> str:
        say = self.session.text
        published = report.published or report.records
        line = say("run_going", sync=self.sync.name, published=published, rate=round(self.rate))
        if report.share:  # none of it, as far as the vendor has said, is no share
            line += say("run_share", share=f"{report.share:.1%}", eta=duration(left) or "?")
        return line

    def _paused(self, report: ReadReport) -> str:
        say, known = self.session.text, {"sync": self.sync.name, "waiting": report.waiting}
        if report.idle < IDLE:
            return say("run_waiting", **known)
        line = say("run_idle", **known, idle=duration(int(report.idle * SECOND)))
        if self.wait is not None:
            line += say("run_gives_up", left=duration(int(max(0.0, self.wait - report.idle) * SECOND)))
        return line


def run(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.sync_name", metavar="SYNC")],
    *,
    full: Annotated[bool, typer.Option("--full", help="opt.full")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="opt.estimate")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="opt.dry_run")] = False,
    wait: Annotated[float, typer.Option("--wait", help="opt.wait", min=0)] = WAIT,
    confirm: Annotated[bool, typer.Option("--confirm-absent", help="opt.confirm_absent")] = False,
) -> None:
    """Read an inbound sync once and publish what it shows; the running hub takes it in."""
    with session.hub(create=True) as hub:
        sync = hub.project.sync(name)
        if sync is None:
            raise NotThere(name)
        if sync.direction != "in":
            raise Failure(session.text("run_inbound", sync=name), USAGE)
        if confirm:
            _confirm(session, hub, name)
            return
        reads_itself(hub.world, sync)
        titles = _titles(hub, sync)
        one = _Run(session, sync, hub.clock, ReadReport(name), wait or None, dry_run or estimate, titles)
        if not one.dry and (said := said_astray(session, hub)) is not None:
            raise Failure(said)
        with _interrupted(session, one):
            asyncio.run(_work(hub, one, full=full, pages=FEW_PAGES if estimate else None))
    if one.report.busy:
        raise Failure(session.text("run_busy", sync=name), PROBLEM)
    if session.as_json:
        session.screen.json({"ok": True, **_told(one)})
    elif estimate:
        _say_estimate(session, one)
    else:
        _say(session, one)


def _titles(hub: Hub, sync: Sync) -> dict[str, tuple[str, str]]:
    """Return what the streams that are read with a sync are called, Chinese and English."""
    spec = hub.world.specs.get(sync.connection)
    return {name: (one.title_zh, one.title_en) for name, one in spec.streams.items()} if spec else {}


def _confirm(session: Session, hub: Hub, name: str) -> None:
    counts = hub.store.run_now(confirm_absent, name, hub.world, by=session.actor)
    count = sum(one.absent for one in counts)
    if session.as_json:
        session.screen.json({"ok": True, "sync": name, "confirmed": count})
    else:
        session.screen.line(session.text("done.confirm_absent", sync=name, count=count))


@contextlib.contextmanager
def _interrupted(session: Session, one: _Run) -> Any:
    """Ctrl-C ends a read between two pages, or gives the page under way up: it goes on there next time.

    So does a bus from which nobody takes anything, after a while.
    """
    try:
        yield
    except KeyboardInterrupt:
        if session.as_json:
            session.screen.json({"ok": False, "interrupted": True, **_told(one)})
            raise SystemExit(INTERRUPTED) from None
        published = one.report.published or one.report.records
        said = session.text("run_cut", sync=one.sync.name, published=published)
        raise Failure(said, INTERRUPTED) from None
    except NotPossible as error:
        if error.reason is not Reason.NOT_TAKEN:
            raise
        known = {"waiting": one.stopped, "published": one.report.published, "wait": f"{one.wait:g}"}
        said = session.text("run_not_taken", sync=one.sync.name, **known)
        if session.as_json:
            session.screen.json({"ok": False, "error": said, "exit": NOT_TAKEN, **_told(one)})
            raise SystemExit(NOT_TAKEN) from None
        raise Failure(said, NOT_TAKEN) from None


async def _work(hub: Hub, one: _Run, *, full: bool, pages: int | None) -> None:
    connector = wiring.connect(hub, one.sync.connection)
    since, one.began = hub.clock.now(), hub.clock.monotonic()
    common: dict[str, Any] = {"full": full, "report": one.report, "progress": one.tell}
    act = await hub.store.read(last_act)
    try:
        if one.dry:
            await preview_stream(hub.store, hub.world, one.sync, connector, pages=pages, **common)
        else:
            await read_stream(
                hub.store,
                hub.world,
                hub.bus,
                hub.clock,
                one.sync,
                connector,
                holder=wiring.holder_name(),
                patience=one.wait,
                **common,
            )
    finally:
        one.calls = sum(client.calls for client in hub.clients)
        names = [found.name for stream in streams_of(hub.world, one.sync)
                 if (found := hub.world.inbound(one.sync.connection, stream)) is not None]  # fmt: skip
        began = one.report.started or since
        one.rejected = await hub.store.read(count_parked, names, began) + one.report.refused
        one.rereads = 0 if one.dry else await hub.store.read(count_rereads, names, act)
        one.quota = _quota(hub, one)
        await hub.aclose()


def _quota(hub: Hub, one: _Run) -> list[dict[str, Any]]:
    """Return for each rate the vendor states the share of it that this run's calls took, were all of them counted there.

    What came stale meanwhile and the running hub reads once more (a call each) counts with them.
    """
    spec = hub.world.specs.get(one.sync.connection)
    found = []
    for budget in spec.budgets if spec else ():
        if budget.kind == "rate":
            allowed = budget.limit * max(one.seconds / budget.per, 1.0)
            found.append({"budget": f"{budget.scope}/{budget.name}", "limit": budget.limit, "per": budget.per,
                          "share": float(f"{(one.calls + one.rereads) / allowed:.4g}")})  # fmt: skip
    return found


def _told(one: _Run) -> dict[str, Any]:
    report = one.report
    return {
        "sync": one.sync.name,
        "records": report.records,
        "pages": report.pages,
        "published": report.published,
        "streams": report.streams,
        "total": report.total,
        "share": report.share,
        "rejected": one.rejected,
        "complete": report.complete,
        "resumed": report.resumed,
        "done": report.done,
        "seconds": round(one.seconds, 3),
        "rate": round(one.rate, 1),
        "calls": one.calls,
        "rereads": one.rereads,
        "quota": one.quota,
    }


def _counted(one: _Run) -> str:
    """Say how many records of each stream were read, in the vendor's words for them."""
    found = [_of_stream(one, stream, count) for stream, count in one.report.streams.items()]
    return ("、" if one.session.lang == "zh" else ", ").join(found) or one.session.text(
        "run_records", count=0
    )


def _of_stream(one: _Run, stream: str, count: int) -> str:
    """Name a number of records; the stream only where there is more than one."""
    title = one.titles.get(stream)
    if title is None or len(one.report.streams) == 1:
        return one.session.text("run_records", count=count)
    return one.session.text("run_stream", count=count, title=title[one.session.lang != "zh"])


def _share(session: Session, share: float) -> str:
    """Say a share of a budget; a small one is not none."""
    if 0 < share < LEAST:
        return session.text("run_less", share=f"{LEAST:.1%}")
    return session.text("run_at_most", share=f"{share:.1%}")


def _say(session: Session, one: _Run) -> None:
    report, line, counted = one.report, session.screen.line, _counted(one)
    if one.dry:
        line(session.text("done.run_dry", sync=one.sync.name, records=counted, pages=report.pages))
    else:
        line(session.text("done.run", sync=one.sync.name, records=counted, pages=report.pages,
                          seconds=f"{one.seconds:.1f}", rate=round(one.rate), rejected=one.rejected))  # fmt: skip
        before = report.published - report.records
        if report.resumed and before > 0:
            line(session.text("done.run_whole", before=before, published=report.published))
    _say_calls(session, one)


def _say_calls(session: Session, one: _Run) -> None:
    said = [session.text("run_calls", calls=one.calls)]
    said += [
        session.text("run_quota", budget=plain(each["budget"]), limit=each["limit"], per=f"{each['per']:g}",
                     share=_share(session, each["share"])) for each in one.quota]  # fmt: skip
    if one.rereads:
        said.append(session.text("run_rereads", count=one.rereads))
    session.screen.line("; ".join(said))


def _say_estimate(session: Session, one: _Run) -> None:
    """Say how much there is and how long it takes, where the vendor has said enough for it; never make it up."""
    report, total = one.report, one.report.total
    own, stream = next(((count, name) for name, count in report.streams.items()), (0, ""))
    share = min(1.0, own / total) if total else report.share
    known = {"sync": one.sync.name, "records": _counted(one), "pages": report.pages,
             "seconds": f"{one.seconds:.1f}"}  # fmt: skip
    if report.done:
        session.screen.line(session.text("run_all", **known))
        _say_calls(session, one)
        return
    if share:
        count = round(own / share) if total is None else total
        whole = _of_stream(one, stream, count)
        known |= {"whole": whole, "eta": duration(int(one.seconds / share * SECOND))}
    silent = total is None and report.share is None
    said = "run_estimate" if share else "run_no_estimate" if silent else "run_little"
    session.screen.line(session.text(said, **known))
    _say_calls(session, one)
