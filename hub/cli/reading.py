"""``hub run``: read an inbound sync now, all of it or what changed, with progress; or only look how much it is."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from hub import wiring
from hub.cli.screen import duration, plain
from hub.cli.session import INTERRUPTED, PROBLEM, USAGE, Failure, Session
from hub.clock import SECOND, Clock
from hub.pipe.absence import confirm_absent
from hub.pipe.queries import count_parked
from hub.pipe.read import ReadReport, preview_stream, read_stream, reads_itself, streams_of
from hub.pipe.refusal import NotThere
from hub.project.values import Sync
from hub.wiring import Hub

__all__ = ["run"]

OFTEN, SELDOM = 1.0, 10.0
"""Seconds between two lines of progress: on a terminal, and in a log."""


@dataclass
class _Run:
    """One run: its report, its clock, and what is told meanwhile."""

    session: Session
    sync: Sync
    clock: Clock
    report: ReadReport
    began: float = 0.0
    told: float = float("-inf")
    first: tuple[float, float] | None = None
    rejected: int = 0
    quota: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0

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
        terminal = sys.stderr.isatty()
        if self.session.as_json or self.seconds - self.told < (OFTEN if terminal else SELDOM):
            return
        self.told = self.seconds
        say = self.session.text
        if report.waiting:
            line = say("run_waiting", sync=self.sync.name, waiting=report.waiting)
        else:
            line = say(
                "run_going",
                sync=self.sync.name,
                published=report.published or report.records,
                rate=round(self.rate),
            )
            if report.share is not None:
                line += say("run_share", share=f"{report.share:.1%}", eta=duration(left) or "?")
        self.session.screen.going(line)


def run(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.sync_name", metavar="SYNC")],
    *,
    full: Annotated[bool, typer.Option("--full", help="opt.full")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="opt.estimate")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="opt.dry_run")] = False,
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
        one = _Run(session, sync, hub.clock, ReadReport(name))
        with _interrupted(session, one):
            asyncio.run(_work(hub, one, full=full, pages=1 if estimate else None, dry=dry_run or estimate))
    if one.report.busy:
        raise Failure(session.text("run_busy", sync=name), PROBLEM)
    if session.as_json:
        session.screen.json({"ok": True, **_told(one)})
    elif estimate:
        _say_estimate(session, one)
    else:
        _say(session, one, dry=dry_run)


def _confirm(session: Session, hub: Hub, name: str) -> None:
    counts = hub.store.run_now(confirm_absent, name, hub.world, by=session.actor)
    count = sum(one.absent for one in counts)
    if session.as_json:
        session.screen.json({"ok": True, "sync": name, "confirmed": count})
    else:
        session.screen.line(session.text("done.confirm_absent", sync=name, count=count))


@contextlib.contextmanager
def _interrupted(session: Session, one: _Run) -> Any:
    """Ctrl-C ends a read between two pages, or gives the page under way up: it goes on there next time."""
    try:
        yield
    except KeyboardInterrupt:
        if session.as_json:
            session.screen.json({"ok": False, "interrupted": True, **_told(one)})
            raise SystemExit(INTERRUPTED) from None
        published = one.report.published or one.report.records
        said = session.text("run_cut", sync=one.sync.name, published=published)
        raise Failure(said, INTERRUPTED) from None


async def _work(hub: Hub, one: _Run, *, full: bool, pages: int | None, dry: bool) -> None:
    connector = wiring.connect(hub, one.sync.connection)
    since, one.began = hub.clock.now(), hub.clock.monotonic()
    common: dict[str, Any] = {"full": full, "report": one.report, "progress": one.tell}
    try:
        if dry:
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
                **common,
            )
    finally:
        one.calls = sum(client.calls for client in hub.clients)
        one.quota = _quota(hub, one)
        names = [found.name for stream in streams_of(hub.world, one.sync)
                 if (found := hub.world.inbound(one.sync.connection, stream)) is not None]  # fmt: skip
        parked = await hub.store.read(count_parked, names, one.report.started or since)
        one.rejected = parked + one.report.refused
        await hub.aclose()


def _quota(hub: Hub, one: _Run) -> list[dict[str, Any]]:
    """Return for each rate the vendor states the share of it that this run's calls took, were all of them counted there."""
    spec = hub.world.specs.get(one.sync.connection)
    found = []
    for budget in spec.budgets if spec else ():
        if budget.kind == "rate":
            allowed = budget.limit * max(one.seconds / budget.per, 1.0)
            found.append({"budget": f"{budget.scope}/{budget.name}", "limit": budget.limit, "per": budget.per,
                          "share": round(one.calls / allowed, 4)})  # fmt: skip
    return found


def _told(one: _Run) -> dict[str, Any]:
    report = one.report
    return {
        "sync": one.sync.name,
        "records": report.records,
        "pages": report.pages,
        "published": report.published or report.records,
        "total": report.total,
        "share": report.share,
        "rejected": one.rejected,
        "complete": report.complete,
        "resumed": report.resumed,
        "done": report.done,
        "seconds": round(one.seconds, 3),
        "rate": round(one.rate, 1),
        "calls": one.calls,
        "quota": one.quota,
    }


def _say(session: Session, one: _Run, *, dry: bool) -> None:
    report, line = one.report, session.screen.line
    if dry:
        line(session.text("done.run_dry", sync=one.sync.name, records=report.records, pages=report.pages))
    else:
        line(session.text("done.run", sync=one.sync.name, records=report.records, pages=report.pages,
                          seconds=f"{one.seconds:.1f}", rate=round(one.rate), rejected=one.rejected))  # fmt: skip
        if report.resumed:
            line(session.text("done.run_whole", published=report.published))
    shares = [
        session.text("run_quota", budget=plain(each["budget"]), limit=each["limit"], per=f"{each['per']:g}",
                     share=f"{each['share']:.1%}") for each in one.quota]  # fmt: skip
    line("; ".join([session.text("run_calls", calls=one.calls), *shares]))


def _say_estimate(session: Session, one: _Run) -> None:
    report = one.report
    known = {"sync": one.sync.name, "records": report.records, "seconds": f"{one.seconds:.1f}"}
    if report.total is None and report.share is None:
        session.screen.line(session.text("run_no_estimate", **known))
        return
    share = report.share or (report.records / report.total if report.total else 1.0)
    total = (
        report.total
        if report.total is not None
        else round(report.records / share)
        if share
        else report.records
    )
    eta = duration(int(one.seconds / share * SECOND)) if share else "?"
    session.screen.line(session.text("run_estimate", total=total, eta=eta, **known))
