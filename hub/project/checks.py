"""What no single sync can see: shared targets and streams, two-way fields, dependencies and circles among syncs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from hub.mapping.problems import Problem, nearest
from hub.mapping.strict_yaml import Document
from hub.project.organisations import written_name
from hub.project.route_checks import gaps, overlaps
from hub.project.routes import Route
from hub.project.values import Connection, LegalEntity, Sync
from hub.sdk.spec import ConnectorSpec

__all__ = ["Assembled", "check_project"]

APPROVAL: Final = "approval"


@dataclass(frozen=True, slots=True)
class Assembled:
    """The parts of a project whose own values are in order."""

    document: Document
    connections: Mapping[str, Connection]
    specs: Mapping[str, ConnectorSpec]
    entities: Mapping[str, LegalEntity]
    syncs: Mapping[str, Sync]
    regions: tuple[str, ...] = ("",)
    routes: tuple[Route, ...] = ()

    def about(self, sync: Sync, key: str, message: str) -> Problem:
        """Return a problem at a key of a sync."""
        return self.document.problem(("syncs", written_name(sync.name), key), message)

    def connector(self, sync: Sync) -> str:
        """Return the name of the connector behind a sync."""
        return self.connections[sync.connection].connector


Check: TypeAlias = Callable[[Assembled], Iterator[Problem]]


def check_project(parts: Assembled) -> list[Problem]:
    """Return every problem between the parts."""
    return [problem for check in _CHECKS for problem in check(parts)]


def _one_sync_a_target(parts: Assembled) -> Iterator[Problem]:
    """Until one may own a target and others patch it, two writers would undo each other."""
    first: dict[tuple[str, str, str], Sync] = {}
    for sync in parts.syncs.values():
        if sync.direction == "out":
            other = first.setdefault((sync.connection, sync.object, sync.org), sync)
            if other is not sync:
                yield parts.about(
                    sync,
                    "target",
                    f"{other.name} writes the same target; two syncs on one target are refused",
                )


def _one_sync_a_stream(parts: Assembled) -> Iterator[Problem]:
    first: dict[tuple[str, str | None], Sync] = {}
    for sync in parts.syncs.values():
        if sync.direction == "in":
            other = first.setdefault((sync.connection, sync.stream), sync)
            if other is not sync:
                yield parts.about(
                    sync,
                    "source",
                    f"{other.name} reads the same stream; two inbound syncs on one stream are refused",
                )


def _schedules(parts: Assembled) -> Iterator[Problem]:
    """A stream that is read together with another one has no read of its own to be scheduled."""
    for sync in parts.syncs.values():
        stream = parts.specs[parts.connector(sync)].streams.get(sync.stream or "")
        if sync.direction == "out" or sync.schedule is None or stream is None or stream.read_with is None:
            continue
        readers = [
            other.name
            for other in parts.syncs.values()
            if (other.connection, other.stream) == (sync.connection, stream.read_with)
        ]
        named = readers[0] if readers else f"a sync with source: {sync.connection}.{stream.read_with}"
        yield parts.about(
            sync,
            "schedule",
            f"{sync.stream} has no read of its own: {named} reads it, put the schedule there",
        )


def _entities(parts: Assembled) -> Iterator[Problem]:
    known = parts.entities
    for connection in parts.connections.values():
        if connection.entity is not None and connection.entity not in known:
            message = f"there is no legal entity {connection.entity!r} in the table (entities)"
            near = nearest(connection.entity, known)
            yield parts.document.problem(("connections", connection.name, "entity"), message, nearest=near)
    for sync in parts.syncs.values():
        booked = known[sync.entity].connection if sync.entity else None
        if booked is not None and booked != sync.connection:
            yield parts.about(
                sync, "entity", f"{sync.entity} is booked through connection {booked}, not {sync.connection}"
            )


def _required_fields(parts: Assembled) -> Iterator[Problem]:
    """A field the vendor requires must be written by the mapping (rows: their list)."""
    for sync in parts.syncs.values():
        spec = parts.specs[parts.connector(sync)].objects.get(sync.object)
        if sync.direction == "out" and spec is not None:
            written = {_head(name) for name in sync.mapping.fields}
            missing = [name for name in spec.required if _head(name) not in written]
            if missing:
                yield parts.about(
                    sync,
                    "mapping",
                    f"{sync.object} requires {', '.join(missing)}; {sync.mapping.name} does not write it",
                )


def _head(name: str) -> str:
    return name.partition(".")[0].partition("[")[0]


def _two_way_fields(parts: Assembled) -> Iterator[Problem]:
    """A vendor without a version guard can lose a user's edit made in the moment before our write: say it is accepted."""
    inbound = {
        (sync.connection, sync.object): sync for sync in parts.syncs.values() if sync.direction == "in"
    }
    for sync in parts.syncs.values():
        spec = parts.specs[parts.connector(sync)].objects.get(sync.object)
        other = inbound.get((sync.connection, sync.object))
        if sync.direction == "in" or other is None or spec is None or sync.accept_window:
            continue
        both = sorted(set(other.mapping.fields) & sync.mapping.reads)
        if both and (spec.guard == "none" or spec.writes == "whole"):
            yield parts.about(
                sync,
                "accept_window",
                f"{', '.join(both)} go both ways with {other.name}, and {sync.object} has no version guard: an edit made "
                "there in the moment before our write can be overwritten unseen; write accept_window: true to accept that",
            )


def _dependencies(parts: Assembled) -> Iterator[Problem]:
    for sync in parts.syncs.values():
        for target in sync.mapping.xrefs:
            if not _producers(parts, sync, target):
                where = f" for organisation {sync.org}" if sync.org else ""
                yield parts.about(
                    sync, "mapping", f"xref({target!r}): no sync of this connection can produce it{where}"
                )


def _producers(parts: Assembled, sync: Sync, target: str) -> list[Sync]:
    """Return the syncs that pay for an xref: those of the same direction if there are any."""
    connector, _, name = target.partition(".")
    found = [
        other
        for other in parts.syncs.values()
        if parts.connector(other) == connector
        and name in (other.object, other.stream)
        and (
            connector != parts.connector(sync) or (other.connection, other.org) == (sync.connection, sync.org)
        )
    ]
    return [other for other in found if other.direction == sync.direction] or found


def _circles(parts: Assembled) -> Iterator[Problem]:
    """Records that wait for one another in a circle would wait for ever."""
    edges = {
        name: sorted(
            {other.name for target in sync.mapping.xrefs for other in _producers(parts, sync, target)}
        )
        for name, sync in parts.syncs.items()
    }
    done: set[str] = set()
    for name in edges:
        circle = _circle_from(name, edges, done, [])
        if circle:
            yield parts.about(
                parts.syncs[circle[0]],
                "mapping",
                f"syncs depend on each other in a circle: {' -> '.join(circle)}",
            )


def _circle_from(
    name: str, edges: Mapping[str, list[str]], done: set[str], path: list[str]
) -> list[str] | None:
    if name in path:
        return [*path[path.index(name) :], name]
    if name in done:
        return None
    for other in edges[name]:
        circle = _circle_from(other, edges, done, [*path, name])
        if circle:
            done.update(path, circle)
            return circle
    done.add(name)
    return None


def _routes(parts: Assembled) -> Iterator[Problem]:
    """Every approval has one route, and each route a sync that carries approvals to its system."""

    def at(route: Route, message: str, key: str | None = None) -> Problem:
        path = ("approvals", "routes", route.name)
        return parts.document.problem(path if key is None else (*path, key), message, at_key=key is None)

    for one, other, subject in overlaps(parts.routes):
        where = one.region or "/"
        message = f"重叠：两条规则都适用 overlap: {one.name} fits too and is as narrow ({subject}, {where}); let one name more"
        yield at(other, message)
    currencies = {entity.currency for entity in parts.entities.values()}
    for gap in gaps(parts.routes, parts.regions, currencies):
        yield parts.document.problem(("approvals", "routes"), str(gap), at_key=True)
    carried = {
        sync.connection for sync in parts.syncs.values() if (sync.direction, sync.kind) == ("out", APPROVAL)
    }
    shown = {
        sync.connection for sync in parts.syncs.values() if (sync.direction, sync.kind) == ("in", APPROVAL)
    }
    for route in parts.routes:
        if route.connection and route.connection not in carried:
            message = f"no sync carries approvals to {route.connection}: write one with target: {route.connection}.<object>"
            yield at(route, message, "connection")
        elif route.connection and route.connection not in shown:
            message = f"no sync brings home what {route.connection} decides: write one with source: {route.connection}.<stream>"
            yield at(route, message, "connection")


_CHECKS: Final[tuple[Check, ...]] = (
    _one_sync_a_target,
    _one_sync_a_stream,
    _schedules,
    _entities,
    _required_fields,
    _two_way_fields,
    _dependencies,
    _circles,
    _routes,
)
