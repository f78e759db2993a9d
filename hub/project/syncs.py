"""The syncs of hub.yaml: which mapping carries what between a connection and the CRM, and by which rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from hub.model.kinds import KINDS, Kind
from hub.model.lattice import LATTICES
from hub.project.organisations import per_organisation
from hub.project.section import Section
from hub.project.sections import read_admission
from hub.project.values import (
    API,
    LANE_BULK,
    LANE_LIVE,
    LANE_MONEY,
    Admission,
    Connection,
    LegalEntity,
    Retry,
    Sync,
)
from hub.sdk.spec import ConnectorSpec, ObjectSpec, StreamSpec

if TYPE_CHECKING:
    from hub.mapping import Compiled

__all__ = ["DEFAULT_ADMISSION", "Known", "read_syncs"]

SYNC_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,79}", re.ASCII)
MODES: Final = ("observe", "write")
LANES: Final = {"money": LANE_MONEY, "live": LANE_LIVE, "bulk": LANE_BULK}
AUTHORITIES: Final = ("crm", "source", "manual", "newest")
LEAVING: Final = ("ignore", "deactivate", "delete")
DEFAULT_ADMISSION: Final[Mapping[str, tuple[str, ...]]] = {"customer": ("name", "uscc")}
"""What a record needs before it leaves, where neither the sync nor its kind says otherwise."""
_MONEY_KINDS: Final = frozenset({"payment", "approval"})


@dataclass(frozen=True, slots=True)
class Known:
    """What syncs refer to. ``mappings``: name -> compiled, None if the file has problems of its own."""

    connections: Mapping[str, Connection]
    specs: Mapping[str, ConnectorSpec]
    entities: Mapping[str, LegalEntity]
    regions: tuple[str, ...]
    mappings: Mapping[str, Compiled | None]
    admission: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)

    def spec(self, connection: str) -> ConnectorSpec | None:
        """Return the spec behind a connection."""
        found = self.connections.get(connection)
        return self.specs.get(found.connector) if found else None


@dataclass(frozen=True, slots=True)
class _Side:
    """The vendor's side of a sync: ``source: k3.customer`` or ``target: k3.receipt``."""

    direction: Literal["in", "out"]
    connection: str
    name: str
    spec: ConnectorSpec

    @property
    def schema(self) -> str:
        """The name the mapping must use for it."""
        return f"{self.spec.name}.{self.name}"

    def object(self) -> ObjectSpec | None:
        """Return the object written, or shown by the stream read."""
        stream = self.stream()
        name = (stream.object or stream.name) if stream else self.name
        return self.spec.objects.get(name)

    def stream(self) -> StreamSpec | None:
        """Return the stream read; None for a target."""
        return self.spec.streams.get(self.name) if self.direction == "in" else None


def read_syncs(top: Section, known: Known) -> dict[str, Sync]:
    """Return the syncs whose parts all exist; what is wrong with the others is reported."""
    found: dict[str, Sync] = {}
    for name, section in top.each("syncs"):
        if not SYNC_NAME.fullmatch(name):
            section.problem(None, "a sync's name is lower-case letters, digits, dots, - and _ (80 at most)")
        sync = _sync(name, section, known)
        made = per_organisation(section, sync, known.entities)
        section.close()
        found |= {one.name: one for one in made}
    return found


def _sync(name: str, section: Section, known: Known) -> Sync | None:
    side = _side(section, known)
    mapping_name = section.named(
        "mapping", known.mappings, "mapping file (mappings/<name>.yaml)", required=True
    )
    mapping = known.mappings.get(mapping_name or "")
    if side is None or mapping is None:
        section.names()
        return None
    kind = _kind(section, side, mapping)
    if kind is None:
        section.names()
        return None
    entity = section.named("entity", known.entities, "legal entity in the table (entities)")
    out = side.direction == "out"
    stream, target = side.stream(), side.object()
    return Sync(
        name=name,
        direction=side.direction,
        connection=side.connection,
        object=side.name if out or stream is None else (stream.object or stream.name),
        stream=None if out else side.name,
        kind=kind,
        mapping=mapping,
        mode=section.choice("mode", MODES, "observe"),
        lane=LANES[section.choice("lane", tuple(LANES), "money" if kind in _MONEY_KINDS else "live")],
        org=section.text("org") or (known.entities[entity].org() if entity else ""),
        entity=entity,
        region=section.region("region", known.regions),
        authority=_authority(section, known.kinds[kind], stream),
        retry=_retry(section.section("retry")),
        **(_out_rules(section, kind, known, target) if out and target else _in_rules(section)),
    )


def _side(section: Section, known: Known) -> _Side | None:
    directions = [key for key in ("source", "target") if section.has(key)]
    texts = [section.text(key) for key in ("source", "target")]
    if len(directions) != 1:
        section.problem(
            None,
            "exactly one of source (a stream) and target (an object) is expected, such as target: k3.customer",
        )
        return None
    key, text = directions[0], next((text for text in texts if text), None)
    if text is None:
        return None
    connection, _, name = text.partition(".")
    vendors = {item.name for item in known.connections.values() if item.connector != API}
    spec = known.spec(connection)
    if connection not in vendors:
        section.problem(
            key, f"there is no connection {connection!r} to another system", known=vendors, named=connection
        )
    elif spec is not None:
        side = _Side("in" if key == "source" else "out", connection, name, spec)
        names = side.spec.streams if key == "source" else side.spec.objects
        if name in names:
            return side
        what = "stream to read" if key == "source" else "object to write"
        section.problem(key, f"{spec.name} has no {what} {name!r}", known=names, named=name)
    return None


def _kind(section: Section, side: _Side, mapping: Compiled) -> str | None:
    """Return the CRM kind of a sync; its mapping must run between that and the vendor's side."""
    vendor, crm = (
        (mapping.source, mapping.target) if side.direction == "in" else (mapping.target, mapping.source)
    )
    kind = str(crm).removeprefix("crm.")
    if vendor != side.schema or mapping.direction != side.direction or kind not in KINDS:
        arrow = f"{side.schema} -> crm" if side.direction == "in" else f"crm -> {side.schema}"
        section.problem(
            "mapping", f"{mapping.name} maps {mapping.source} -> {mapping.target}; {arrow} is needed here"
        )
        return None
    return kind


def _authority(section: Section, kind: Kind, stream: StreamSpec | None) -> dict[str, str]:
    """Return who wins per field. A state that only goes forward is whoever's shows it: the lattice decides, not a side."""
    stated = section.section("authority")
    found = {"*": "crm"}
    if (lattice := LATTICES.get(kind.name)) is not None:
        found |= dict.fromkeys((lattice.field, *lattice.told), "source")
    for name in stated.names():
        if name != "*" and kind.field(name) is None:
            stated.problem(name, f"is not a field of {kind.name}", known=kind.names(), named=name)
        found[name] = stated.choice(name, AUTHORITIES, "crm")
        if found[name] == "newest" and (stream is None or stream.change_time is None):
            stated.problem(name, "newest needs a stream with a change time per record")
    return found


def _retry(section: Section) -> Retry:
    default = Retry()
    initial = section.duration("initial_interval", default.initial_interval)
    longest = section.duration("max_interval", default.max_interval)
    retry = Retry(
        max_attempts=section.integer("max_attempts", default.max_attempts, low=1, high=1000),
        initial_interval=initial or default.initial_interval,
        backoff_coefficient=section.number(
            "backoff_coefficient", default.backoff_coefficient, low=1, high=10
        ),
        max_interval=longest or default.max_interval,
    )
    if retry.max_interval < retry.initial_interval:
        section.problem("max_interval", "is shorter than initial_interval")
    section.close()
    return retry


def _in_rules(section: Section) -> dict[str, Any]:
    return {"schedule": section.duration("schedule")}


def _out_rules(section: Section, kind: str, known: Known, target: ObjectSpec) -> dict[str, Any]:
    stages = tuple(target.finish)
    missing = (
        "park" if kind in _MONEY_KINDS else "recreate"
    )  # gone may mean hidden from us: never book money twice
    return {
        "stop_at": section.choice("stop_at", stages, target.stop_at),
        "on_audited": section.choice("on_audited", ("unaudit", "park"), target.on_audited),
        "on_delete": _leaving(section, "on_delete", kind, target),
        "on_leave": _leaving(section, "on_leave", kind, target),
        "on_missing": section.choice("on_missing", ("recreate", "park"), missing),
        "accept_window": section.flag("accept_window"),
        "admission": _admission(section, kind, known),
        "options": section.json("options"),
    }


def _leaving(section: Section, key: str, kind: str, target: ObjectSpec) -> str:
    """Return what happens at the vendor when a record is deleted or leaves; only what the connector can do."""
    word = section.choice(key, LEAVING, "ignore")
    if word == "delete" and kind in _MONEY_KINDS:
        section.problem(key, f"a {kind} is reversed, never deleted")
    elif word != "ignore" and word not in target.steps:
        section.problem(key, f"{target.name} has no step {word}: only ignore is possible")
    return word


def _admission(section: Section, kind: str, known: Known) -> Admission | None:
    if section.has("admission"):
        fields = read_admission(section, known.kinds[kind])
    else:
        fields = known.admission.get(kind, DEFAULT_ADMISSION.get(kind, ()))
    return Admission(fields) if fields else None
