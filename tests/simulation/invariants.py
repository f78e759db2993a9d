"""The judge: the invariants of pipe.md 8, computed from the tables and from what the vendor saw, by no code of the pipe."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from hub.pipe.world import business_key
from hub.sdk.spec import Delivery
from tests.simulation.model import Values
from tests.vendor import SPEC, Effect, MemoryVendor, Thing

__all__ = ["Judge", "Reader", "Violation"]

Rows = list[dict[str, Any]]
Reader = Callable[[str], list[tuple[Any, ...]]]

OWED = (
    "id sync subject target state want force generation operation step key base ref refs absent_after fence lease "
    "cause waits_for due attempts deaths pinned_force version"
)
XREF = "connection object org vendor_id record is_primary complete gone stage snapshot rest_until seen act"
OWED_LIST, XREF_LIST = ", ".join(OWED.split()), ", ".join(XREF.split())
TWO_WAY = ("name", "phone", "street", "remark")
ONE_WAY = {"receipt": {"no": "ref", "amount": "amount", "remark": "remark"}}


@dataclass(frozen=True)
class Violation:
    """A broken invariant: its number (pipe.md 8), what was seen, which record it is about."""

    invariant: str
    text: str
    record: str | None = None
    at: int = 0

    def __str__(self) -> str:
        return f"[{self.invariant}] {self.text}" + (f" (record {self.record})" if self.record else "")


@dataclass
class Judge:
    """Looks after every commit and at every effect. ``digest``: (field, value) -> digest, the vault's own."""

    read: Reader
    vendor: MemoryVendor
    values: Values
    now: Callable[[], int]
    digest: Callable[[str, Any], str]
    open_values: Callable[[str, int, str], dict[str, Any]]
    changes: Callable[[], int]
    violations: list[Violation] = field(default_factory=list)
    owed: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    xrefs: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    fences: set[int] = field(default_factory=set)
    act: int = 0
    commits: int = 0
    positions: dict[str, int] = field(default_factory=dict)
    lost: defaultdict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """(record, field) -> the values noted as losers."""
    theirs: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    """(object, vendor id, field, digest) -> the commit after which a snapshot held it."""
    pinned: dict[str, int] = field(default_factory=dict)
    """step key -> the commit that pinned it."""
    replaced: list[tuple[Effect, str, Any, Any, str]] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    generations: dict[tuple[str, str], int] = field(default_factory=dict)
    possible: Counter[tuple[str, str]] = field(default_factory=Counter)
    doubted: set[tuple[str, str]] = field(default_factory=set)
    """(object, record) whose delivery was ever in doubt."""
    undone: set[tuple[str, str, Any, Any]] = field(default_factory=set)
    """(record, field, a user's value, ours): a late copy of a PUT that was answered by its repeat put ours back."""
    by_key: dict[str, str] = field(default_factory=dict)
    """business key -> record id, hex."""
    touched_by_user: set[tuple[str, str]] = field(default_factory=set)
    timeline: list[tuple[int, str | None, str]] = field(default_factory=list)
    enough: int = 30
    stop: Callable[[], None] = lambda: None
    """Called once ``enough`` violations are seen: what follows would be noise."""
    _changes: int = -1
    _raw: dict[bytes, tuple[Any, ...]] = field(default_factory=dict)
    _newest: Counter[str] = field(default_factory=Counter)

    def tell(self, text: str, record: str | None = None) -> None:
        """Add a line to the timeline."""
        self.timeline.append((self.now(), record, text))

    def wrong(self, invariant: str, text: str, record: str | None = None) -> None:
        """Remember a violation."""
        self.violations.append(Violation(invariant, text, record, self.now()))
        self.tell(f"VIOLATION {invariant}: {text}", record)
        if len(self.violations) >= self.enough:
            self.stop()

    # at the vendor -----------------------------------------------------------------------------------------

    def on_send(self, write: Any) -> None:
        """6: no bytes without a committed claim whose key they carry. 18: what the payload names is usable."""
        record = self.by_key.get(write.business_key)
        held = [row for row in self.owed.values() if row["key"] == write.key and row["state"] == "claimed"]
        if not held:
            self.wrong("6", f"bytes of {write.object}/{write.step} without a claim", record)
        self.tell(f"bytes {write.object}/{write.step} generation {write.generation}", record)

    def on_effect(self, effect: Effect, before: Mapping[str, Any]) -> None:
        """2, 3, 4 and what 10 needs."""
        record = self.by_key.get(effect.business_key)
        delivery = SPEC.objects[effect.object].steps[effect.step].delivery
        self.tell(f"EFFECT {effect.object}/{effect.step} {effect.id} generation {effect.generation} "
                  f"{'created ' if effect.created else ''}{dict(effect.fields)}", record)  # fmt: skip
        if effect.created and any((t.object, t.business_key) == (effect.object, effect.business_key) and t.gone
                                  for t in self.vendor.things.values()):  # fmt: skip
            self.effects[effect.key] = (
                0  # a user deleted what the first one made: nobody can tell, and nothing is doubled
            )
        self.effects[effect.key] += 1
        if delivery in (Delivery.KEYED, Delivery.FINDABLE) and self.effects[effect.key] > 1:
            self.wrong(
                "2",
                f"{effect.object}/{effect.step} took effect twice in generation {effect.generation}",
                record,
            )
        at = (effect.object, effect.business_key)
        if effect.generation < self.generations.get(at, 0):
            self.wrong(
                "3",
                f"{effect.object} {effect.id}: generation {effect.generation} after {self.generations[at]}",
                record,
            )
        self.generations[at] = max(effect.generation, self.generations.get(at, 0))
        if effect.created:
            same = [t for t in self.vendor.things.values()
                    if (t.object, t.business_key) == at and not t.gone]  # fmt: skip
            if delivery is not Delivery.AT_LEAST_ONCE and len(same) > 1:
                self.wrong("4", f"{len(same)} objects {effect.object}: {[t.id for t in same]}", record)
        if delivery is Delivery.PUT and self.effects[effect.key] > 1:
            self.undone |= {(record or "", name, before.get(name), value) for name, value in effect.fields}
        if effect.step == "save":
            for name, value in effect.fields:
                if name in TWO_WAY and before.get(name) != value:
                    self.replaced.append((effect, name, before.get(name), value, record or ""))

    # after every commit --------------------------------------------------------------------------------------

    def look(self) -> None:
        """Compare the tables with what they were."""
        changes = self.changes()
        if changes == self._changes:
            return
        self._changes = changes
        self.commits += 1
        acts = self._acts()
        self._records(acts)
        before_xrefs = dict(self.xrefs)
        self._xrefs()
        self._owed(acts, before_xrefs)
        self._waiting()
        self._jobs()

    def _acts(self) -> list[dict[str, Any]]:
        items = []
        for id_, _, actor, verb, body in self.read(
            f"SELECT id, at, actor, verb, body FROM acts WHERE id > {self.act} ORDER BY id"
        ):
            self.act = max(self.act, id_)
            for item in orjson.loads(body).get("items", ()):
                item["act"], item["actor"], item["verb"] = id_, actor, verb
                items.append(item)
                self._count(item)
                shown = {
                    k: v
                    for k, v in item.items()
                    if k not in ("values", "fields", "record", "key", "act", "subject", "kind")
                }
                self.tell(
                    f"act {id_} {json.dumps(shown, ensure_ascii=False, default=str)}", item.get("record")
                )
        return items

    def _count(self, item: Mapping[str, Any]) -> None:
        outcome = str(item.get("outcome"))
        self.outcomes[outcome] += 1
        if "cause" in item and outcome == "parked":
            self.outcomes[f"parked:{item['cause']}"] += 1
        if outcome == "parked" and item.get("cause") == "not_found":
            self._guilty(item)
        if outcome == "doubt":
            self.doubted.add((str(item["sync"]).partition(".")[0], item["record"]))
        if outcome == "possible_duplicate":
            self.possible[item["sync"], item["subject"]] += 1

    def _guilty(self, item: Mapping[str, Any]) -> None:
        """18: what a row names was taken away by a user of the vendor, not by the hub's own plan."""
        row = self.owed.get(bytes.fromhex(item["row"])) or {}
        named = {target.split("/")[3] for target, _ in row.get("refs") or ()}
        things = {(x["object"], x["vendor_id"]) for x in self.xrefs.values() if x["record"] in named}
        if named and not things & self.touched_by_user:
            self.wrong("18", "a refusal that our own re-opening caused parks a row", item["subject"])

    def _records(self, acts: Iterable[Mapping[str, Any]]) -> None:
        changed = {}
        for id_, body, act in self.read(
            f"SELECT id, body, act FROM records WHERE act > {self._newest['records']}"
        ):
            self._newest["records"] = max(self._newest["records"], act)
            changed[bytes(id_).hex()] = orjson.loads(body)
        blind = {item["act"] for item in acts if item.get("outcome") == "both_moved"}
        for item in acts:
            self._conflicts(item, changed, blind=item["act"] in blind)
        for key, body in changed.items():
            if key not in self.records:
                self.by_key.update(
                    {business_key("mem", object_, bytes.fromhex(key)): key for object_ in SPEC.objects}
                )
            old = self.records.get(key, {})
            for name in TWO_WAY:
                if (
                    name in old
                    and old[name] != body.get(name)
                    and not self._explained(key, name, old[name], body.get(name))
                    and (key, name, old[name], body.get(name)) not in self.undone
                ):
                    self.wrong(
                        "10",
                        f"the CRM's {name} {old[name]!r} became {body.get(name)!r} and is no noted loser",
                        key,
                    )
            self.records[key] = body

    def _conflicts(
        self, item: Mapping[str, Any], changed: Mapping[str, Mapping[str, Any]], *, blind: bool
    ) -> None:
        """12. ``blind``: an update was found neither as sent nor as before; nobody can tell who came first (section 4)."""
        if not item.get("conflicts"):
            return
        record = item["record"]
        lost = self.open_values(record, item["act"], item["values"]).get("lost", {})
        body = changed.get(record) or self.records.get(record, {})
        for name, winner in item["conflicts"].items():
            loser, kept = lost.get(name), body.get(name)
            self.outcomes[f"conflict:{winner}"] += 1
            if loser is not None:
                self.lost[record, name].add(loser)
            if blind or self._first_seen(item) or self._unsure(item, record):
                continue
            if self.values.descends(loser, kept) or self.values.descends(kept, loser):
                self.wrong(
                    "12",
                    f"a conflict over {name} is noted: {kept!r} against {loser!r}, but one descends from the other",
                    record,
                )

    def _first_seen(self, item: Mapping[str, Any]) -> bool:
        """Say whether an object came in that nobody had linked before: nothing was agreed, so nobody can tell who was first."""
        connection, object_ = "mem", str(item["sync"]).partition(".")[0]
        org, _, vendor_id = str(item["subject"]).partition("/")
        return str(item["sync"]).endswith(".in") and (connection, object_, org, vendor_id) not in self.xrefs

    def _unsure(self, item: Mapping[str, Any], record: str) -> bool:
        """Say whether an update without a look-up was once in doubt: what it sent may be shown later as if it were new."""
        object_ = str(item["sync"]).partition(".")[0]
        return object_ == "card" and (object_, record) in self.doubted

    def _explained(self, record: str, name: str, old: Any, new: Any) -> bool:
        """Say why a value may have gone: the new one's author knew it, it is a noted loser, or nobody could know.

        Nobody could: our late copy landed over it (the accepted window), and a user of the vendor wrote on top of that
        before anybody looked. Not so the late copy itself: that must never pass for a user's word.
        """
        lost, values = self.lost[record, name], self.values
        if values.descends(new, old) or any(values.descends(loser, old) for loser in lost):
            return True
        return any(
            (field, gone, whose) == (name, old, record) and new != over and values.descends(new, over)
            for _, field, gone, over, whose in self.replaced
        )

    def _xrefs(self) -> None:
        newest = self._newest["xrefs"]
        for row in self.read(f"SELECT {XREF_LIST} FROM xrefs WHERE act > {newest}"):
            xref = dict(zip(XREF.split(), row, strict=True))
            key = tuple(row[:4])
            known = self.xrefs.get(key)
            self._newest["xrefs"] = max(self._newest["xrefs"], xref["act"])
            xref["record"] = bytes(xref["record"]).hex()
            xref["snapshot"] = orjson.loads(xref["snapshot"])
            if known is not None and xref["rest_until"] < known["rest_until"]:
                self.wrong("6", f"rest_until of {key} fell", xref["record"])
            for name, pair in xref["snapshot"].items():
                if pair[1] is not None:
                    self.theirs.setdefault((xref["object"], xref["vendor_id"], name, pair[1]), self.commits)
            self.xrefs[key] = xref

    def _owed(self, acts: list[dict[str, Any]], before_xrefs: Mapping[tuple[str, ...], Any]) -> None:
        now: dict[bytes, dict[str, Any]] = {}
        fences = set()
        raw: dict[bytes, tuple[Any, ...]] = {}
        for values in self.read(f"SELECT {OWED_LIST}, payload IS NOT NULL FROM owed"):
            raw[values[0]] = values
            if self._raw.get(values[0]) == values:
                now[values[0]] = self.owed[values[0]]
                continue
            row = dict(zip([*OWED.split(), "payload"], values, strict=True))
            row["id"] = bytes(row["id"])
            for name in ("cause", "base", "ref", "refs"):
                row[name] = orjson.loads(row[name]) if row[name] else None
            now[row["id"]] = row
            before = self.owed.get(row["id"])
            self._shape(row)
            self._moved(row, before, before_xrefs)
            if row["fence"] is not None and (before is None or before["fence"] != row["fence"]):
                fences.add(row["fence"])
                if row["fence"] in self.fences:
                    self.wrong("9", f"fence {row['fence']} is used again", self._record(row))
        self.fences |= fences
        targets = Counter(
            row["target"] for row in now.values() if row["target"] and row["generation"] is not None
        )
        for target, count in targets.items():
            if count > 1:
                self.wrong("1", f"{count} open attempts at {target}", target.rpartition("/")[2])
        for id_, row in self.owed.items():
            if id_ not in now:
                self._deleted(row, acts)
        self.owed, self._raw = now, raw

    @staticmethod
    def _record(row: Mapping[str, Any]) -> str | None:
        return row["subject"] if row["target"] else None

    def _shape(self, row: Mapping[str, Any]) -> None:
        """7 and the first half of 8."""
        is_open = row["generation"] is not None
        if row["target"]:
            filled = [bool(row["payload"]), row["key"] is not None, row["absent_after"] is not None]
            if not all(one is is_open for one in filled):
                self.wrong(
                    "7",
                    f"open is {is_open}, payload, key, ABS are {filled} in state {row['state']}",
                    self._record(row),
                )
        if row["state"] == "claimed" and (not is_open or row["lease"] is None):
            self.wrong("7", "claimed, but not open or not leased", self._record(row))
        if row["state"] == "parked" and not row["cause"]:
            self.wrong("8", "parked without a cause", self._record(row))
        if row["state"] == "waiting" and not row["waits_for"]:
            self.wrong("8", "waiting for nothing", self._record(row))

    def _moved(
        self, row: dict[str, Any], before: dict[str, Any] | None, xrefs: Mapping[tuple[str, ...], Any]
    ) -> None:
        """6, 9, 11, 18: what may not fall, and what a new attempt may carry."""
        record = self._record(row)
        if before is not None and row["want"] < before["want"]:
            self.wrong("9", f"want fell from {before['want']} to {row['want']}", record)
        if (
            before is not None
            and before["force"]
            and not row["force"]
            and before["pinned_force"] != before["force"]
        ):
            self.wrong("force", f"force {before['force']} was cleared by no Done that carried it", record)
        same = (
            before is not None
            and before["generation"] is not None
            and before["generation"] == row["generation"]
        )
        if (
            same
            and before["key"] == row["key"]
            and (row["absent_after"] or 0) < (before["absent_after"] or 0)
        ):
            self.wrong("6", "ABS fell while open", record)
        if not row["target"] or row["generation"] is None:
            return
        if before is None or before["generation"] is None:
            self._pinned(row, xrefs)
        sent_now = before is None or before["fence"] != row["fence"]
        if row["key"] and row["key"] not in self.pinned:
            self.pinned[row["key"]] = self.commits
        if sent_now and row["refs"] and before is not None and before["absent_after"] != row["absent_after"]:
            self._names(row)

    def _pinned(self, row: Mapping[str, Any], xrefs: Mapping[tuple[str, ...], Any]) -> None:
        if row["ref"] and row["force"] is None and row["base"]:
            connection, object_, org, _ = row["target"].split("/")
            known = xrefs.get((connection, object_, org, row["ref"]["vendor_id"]))
            snapshot = known["snapshot"] if known else {}
            for name, digest in row["base"].items():
                pair = snapshot.get(name)
                if pair is not None and pair[1] == digest:
                    self.wrong("11", f"{name} is sent although the vendor holds that value", row["subject"])
        if row["refs"]:
            self._names(row)

    def _names(self, row: Mapping[str, Any]) -> None:
        """18: an xref that is named is complete at the vendor, unless a user of the vendor touched it."""
        for target, _ in row["refs"]:
            connection, object_, org, record = target.split("/")
            for xref in self.xrefs.values():
                if (xref["connection"], xref["object"], xref["org"], xref["record"]) != (
                    connection,
                    object_,
                    org,
                    record,
                ):
                    continue
                thing = self.vendor.things.get((object_, xref["vendor_id"]))
                if not xref["is_primary"] or thing is None or (object_, thing.id) in self.touched_by_user:
                    continue
                if SPEC.objects[object_].reopen and thing.stage != "C":
                    self.wrong(
                        "18", f"a claim names {object_} {thing.id} in stage {thing.stage}", row["subject"]
                    )

    def _deleted(self, row: Mapping[str, Any], acts: list[dict[str, Any]]) -> None:
        """17: who deletes a row says that it is paid, void or discarded."""
        said = {item.get("outcome") for item in acts if item.get("row") == row["id"].hex()}
        if row["force"] is not None and "unchanged" in said:
            self.wrong("force", "a forced row was deleted as unchanged", self._record(row))
        paid = row["generation"] is not None and row["want"] == row["generation"]
        put = row["sync"].startswith("api:") and any(item.get("verb") == "put" for item in acts)
        if not (paid or put or said & {"unchanged", "left", "merged", "discarded"}):
            self.wrong("17", f"a row of {row['sync']} was deleted in state {row['state']}, want {row['want']}, "
                             f"generation {row['generation']}; the act says {sorted(map(str, said))}", self._record(row))  # fmt: skip

    def satisfied(self, key: str) -> bool:
        """Say whether an `xref:` key names an object that is there, complete, and not being made or re-opened."""
        target = key.removeprefix("xref:")
        connection, object_, org, record = target.split("/")
        found = [x for x in self.xrefs.values()
                 if x["is_primary"] and (x["connection"], x["object"], x["org"], x["record"]) == (connection, object_, org, record)]  # fmt: skip
        if not found or found[0]["complete"] is None or found[0]["gone"] is not None:
            return False
        steps = SPEC.objects[object_].steps
        for row in self.owed.values():
            if row["target"] == target and row["generation"] is not None:
                plan = (row["operation"] or "").split(",")
                if row["ref"] is None or any(steps[name].reopens for name in plan):
                    return False
        return True

    def _waiting(self) -> None:
        """8: a waiting row's `xref:` is never satisfied after a commit."""
        for row in self.owed.values():
            if (
                row["state"] == "waiting"
                and row["waits_for"].startswith("xref:")
                and self.satisfied(row["waits_for"])
            ):
                self.wrong("8", f"waits for {row['waits_for']}, which is there", self._record(row))

    def _jobs(self) -> None:
        """16: a position never goes back."""
        for name, position in self.read("SELECT name, position FROM jobs WHERE kind = 'bus'"):
            at = (orjson.loads(position) or {"next": 0})["next"]
            if at < self.positions.get(name, 0):
                self.wrong("16", f"{name} went back from {self.positions[name]} to {at}")
            self.positions[name] = at

    # at the end ----------------------------------------------------------------------------------------------

    def end(self, published: Mapping[str, int]) -> None:
        """Judge what must hold when everything is quiet (¶)."""
        for row in self.owed.values():
            if row["state"] in ("ready", "claimed", "in_doubt"):
                self.wrong(
                    "15",
                    f"{row['sync']} is still {row['state']} (due {row['due'] - self.now()} µs from now)",
                    self._record(row),
                )
            if row["state"] == "waiting":
                self.wrong("15", f"{row['sync']} still waits for {row['waits_for']}", self._record(row))
            if row["state"] == "parked":
                self.wrong("15", f"{row['sync']} stays parked: {row['cause']}", self._record(row))
        for name, count in published.items():
            if self.positions.get(name, 0) != count:
                self.wrong("16", f"{name} stands at {self.positions.get(name, 0)} of {count}")
        self._vendor_agrees()
        self._replaced()
        self._duplicates()

    def _vendor_agrees(self) -> None:
        """13, 14: the vendor shows the last version; every two-way field is the same on both sides."""
        owing = {(row["target"] or "") for row in self.owed.values()}
        for xref in self.xrefs.values():
            if not xref["is_primary"] or xref["connection"] != "mem" or xref["object"] not in SPEC.objects:
                continue
            target = f"{xref['connection']}/{xref['object']}/{xref['org']}/{xref['record']}"
            thing = self.vendor.things.get((xref["object"], xref["vendor_id"]))
            if target in owing or thing is None or thing.gone:
                continue
            self._same(thing, xref["record"])
            if SPEC.objects[thing.object].reopen and (thing.stage != "C" or xref["complete"] is None):
                self.wrong(
                    "13",
                    f"{thing.object} {thing.id} is quiet in stage {thing.stage}, complete {xref['complete']}",
                    xref["record"],
                )

    def _same(self, thing: Thing, record: str) -> None:
        body = self.records[record]
        names = ONE_WAY.get(thing.object) or {name: name for name in TWO_WAY}
        for ours, theirs in names.items():
            mine, shown = body.get(ours), thing.fields.get(theirs)
            if ours == "amount":
                mine, shown = (f"{float(v):.2f}" if v is not None else None for v in (mine, shown))
            if mine != shown:
                which = "14" if thing.object in SPEC.streams else "13"
                self.wrong(
                    which,
                    f"{thing.object} {thing.id}.{theirs} is {shown!r}, the CRM's {ours} is {mine!r}",
                    record,
                )

    def _replaced(self) -> None:
        """10 at the vendor: a value that the hub had merged before it pinned its write is an ancestor or a noted loser."""
        for effect, name, old, new, record in self.replaced:
            seen = self.theirs.get((effect.object, effect.id, name, self.digest(name, old)))
            if seen is None or seen >= self.pinned.get(effect.key, 0) or old is None:
                continue  # the accepted window: nobody had shown it to the hub
            if not self._explained(record, name, old, new):
                self.wrong("10", f"at the vendor {name} {old!r} became {new!r} and is no noted loser", record)

    def _duplicates(self) -> None:
        """5: what doubled is counted."""
        things: defaultdict[str, list[Thing]] = defaultdict(list)
        for thing in self.vendor.things.values():
            if (
                thing.object in SPEC.objects
                and SPEC.objects[thing.object].steps["save"].delivery is Delivery.AT_LEAST_ONCE
            ):
                things[thing.business_key].append(thing)
        for key, doubled in things.items():
            record = self.by_key.get(key)
            counted = self.possible["mail.out", record or ""]
            if len(doubled) - 1 > counted:
                self.wrong("5", f"{len(doubled)} objects, {counted} counted as possible duplicates", record)
