"""What a connector declares about its vendor: streams it reads, objects it writes, budgets, settings.

A spec is data. The hub derives from it how an attempt may be repeated, which steps a plan has, how the settings
form looks and what `hub validate` can check. Durations are seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

__all__ = [
    "Approving",
    "Budget",
    "ConnectorSpec",
    "Delivery",
    "ObjectSpec",
    "SettingSpec",
    "Step",
    "StreamSpec",
]


class Delivery(enum.StrEnum):
    """What the vendor lets us know about a write whose answer never came."""

    KEYED = "keyed"
    """IDEMPOTENT by our key: a repeat inside the key window has no second effect."""
    PUT = "put"
    """IDEMPOTENT by nature: a repeat of the same content changes nothing."""
    FINDABLE = "findable"
    """Not idempotent, but `find` tells whether it took effect."""
    AT_LEAST_ONCE = "at_least_once"
    """Neither: a repeat may double and is counted."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a plan.

    ``key_window``: how long the vendor remembers a key (KEYED only). ``findable``: `find` works for it too.
    ``reopens``: while it runs the object is not usable by others (un-audit).
    """

    name: str
    delivery: Delivery
    key_window: float = 0.0
    findable: bool = False
    reopens: bool = False


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object the connector writes.

    A plan is: the steps of ``reopen[stage]``, then the write step, then the steps of ``finish[stop_at]``.
    ``reached[stage]`` counts the finishing steps an object of that stage has behind it. Stages are the vendor's own
    status codes. ``settle_after``: how long a write may still take effect after its answer was lost. ``creates``: False
    where the vendor's people alone make it, so that we only change what ``stream`` shows; a create is refused.
    ``gone_codes``: vendor codes that say of the object of a change that it is not there (any more). ``edits``: False where
    nothing that is there can be written again: a save of it is refused, ``reopen``, if any, ends with what takes it away.
    """

    name: str
    title_zh: str
    title_en: str
    fields: Mapping[str, str]
    steps: Mapping[str, Step]
    settle_after: float
    write_step: str = "save"
    finish: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"saved": ()})
    reopen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reached: Mapping[str, int] = field(default_factory=dict)
    stop_at: str = "saved"
    on_audited: str = "unaudit"
    stream: str | None = None
    writes: str = "due"
    guard: str = "none"
    batch: int = 1
    required: tuple[str, ...] = ()
    creates: bool = True
    gone_codes: tuple[str, ...] = ()
    edits: bool = True

    def plan(self, stage: str | None, stop_at: str, *, due: bool) -> tuple[str, ...]:
        """Return the steps for an object of that stage (None: it does not exist yet).

        With nothing due only the missing finishing steps remain; with something due an object that was further
        than ``stop_at`` is brought back to where it was.
        """
        reached = self.reached.get(stage or "", 0)
        finish = self.finish[stop_at]
        if not due:
            return finish[reached:]
        if reached > len(finish):
            finish = max(self.finish.values(), key=len)[:reached]
        return (*self.reopen.get(stage or "", ()), self.write_step, *finish)

    def is_complete(self, stage: str | None, stop_at: str) -> bool:
        """Say whether an object of that stage has every finishing step behind it."""
        return self.reached.get(stage or "", 0) >= len(self.finish[stop_at])


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One object type the connector reads.

    ``fields``: schema name -> type (text integer decimal flag date instant texts json). ``object``: the object it
    shows. ``fetchable``: `fetch` can read single records again; else the newest body is kept while owed.
    ``complete_sweep``: a full read shows everything, so absence means something. ``change_time``: the schema field
    that carries a per-record change time, None if there is none. ``receive``: callbacks tell of its changes.
    ``incremental``: `read` goes on from its last cursor; False: every read shows everything, and its cursor only
    resumes a read that was cut. ``by_callback``: fields that a callback alone tells, no read shows them. ``read_with``: the stream whose `read` shows this one too (`Page.beside`); it has no
    read of its own. ``parent``: the stream whose record it
    hangs on; the last part of its id (behind the last "/") is that record's id, and both lie in one partition of the
    bus, so that it comes behind what it hangs on. ``folds``: the fields of ``primary_key`` that the vendor writes in
    either case: in keys they are lower-case.
    """

    name: str
    title_zh: str
    title_en: str
    primary_key: tuple[str, ...]
    fields: Mapping[str, str]
    object: str | None = None
    fetchable: bool = True
    complete_sweep: bool = False
    change_time: str | None = None
    receive: bool = False
    incremental: bool = True
    by_callback: tuple[str, ...] = ()
    read_with: str | None = None
    parent: str | None = None
    folds: tuple[str, ...] = ()

    def folded(self, id_: str) -> str:
        """Return an id as keys have it, from how a person or the vendor may write it."""
        parts = id_.split("/", len(self.primary_key) - 1)
        if len(parts) != len(self.primary_key):
            return id_
        named = zip(self.primary_key, parts, strict=True)
        return "/".join(part.lower() if name in self.folds else part for name, part in named)


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit the vendor states: ``scope`` account, api or ip; ``kind`` rate, slots, period or person.

    rate: our calls per ``per`` seconds. period: what the vendor sends us in that time; stated, not enforced by us.
    person: notices to one person per ``per`` seconds.
    ``setting``: the connection's setting that says another limit, where it hangs on what the customer bought.
    """

    name: str
    scope: str
    kind: str
    limit: int
    per: float = 1.0
    setting: str = ""


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """One setting of a connection: type text, integer, number, flag, url or secret.

    ``low`` and ``high``: the least and the greatest an integer or a number may be, None: no limit.
    """

    name: str
    type: str
    zh: str
    en: str
    required: bool = True
    default: str | int | float | bool | None = None
    low: float | None = None
    high: float | None = None

    def beyond(self, value: object) -> str | None:
        """Return what a value of the right type must be and is not: "must lie between 1 and 10"; None: it may be so."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if (self.low is None or value >= self.low) and (self.high is None or value <= self.high):
            return None
        if self.low is None or self.high is None:
            return f"must be {self.low} or more" if self.high is None else f"must be {self.high} or less"
        return f"must lie between {self.low} and {self.high}"


@dataclass(frozen=True, slots=True)
class Approving:
    """What routes of approvals to a system may say.

    ``templates``: the setting that names the templates whose approvals are taken in, with commas between them (empty:
    any). ``cc_alone``: people may be in cc where the template's own flow decides; else it says who is.
    """

    templates: str
    cc_alone: bool = True


@dataclass(frozen=True, slots=True)
class ConnectorSpec:
    """Everything the hub must know about a connector before it runs."""

    name: str
    title_zh: str
    title_en: str
    settings: tuple[SettingSpec, ...]
    streams: Mapping[str, StreamSpec]
    objects: Mapping[str, ObjectSpec]
    budgets: tuple[Budget, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)
    """Every documented vendor code -> the error class that answers it, for the kit and the docs."""
    foreign: bool = False
    """The vendor keeps what it is sent in another country: no personal field leaves before an administrator allowed it."""
    approvals: Approving | None = None
    """What routes are held against, None: nothing is known of its templates."""
    notifies: bool = False
    """It can tell people by a work notice (`Connector.notify`)."""

    def bought(self, settings: Mapping[str, object]) -> ConnectorSpec:
        """Return the spec with the limits that a connection's settings name (`Budget.setting`)."""
        said = {one: settings.get(one.setting) for one in self.budgets}
        fitted = (
            replace(one, limit=limit) if isinstance(limit := said[one], int) else one for one in self.budgets
        )
        return replace(self, budgets=tuple(fitted))
