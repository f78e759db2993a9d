"""Holes in the routing table, and places where two routes decide: both refused before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import combinations, product
from typing import Final

from hub.model.region import ancestors, is_within
from hub.project.routes import Amounts, Route

__all__ = ["Gap", "gaps", "overlaps"]

_NO_END: Final = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Gap:
    """Approvals that no route fits: amounts from ``low`` to less than ``below`` (infinite: no end).

    ``entity``, ``department`` None: any that no route of the subject names.
    """

    subject: str
    region: str
    entity: str | None
    department: str | None
    currency: str
    low: Decimal
    below: Decimal

    def __str__(self) -> str:
        """Return the sentence, in Chinese and English."""
        amounts = Amounts(self.currency, self.low, None if self.below == _NO_END else self.below)
        named = [
            f"{name} {value}"
            for name, value in (("entity", self.entity), ("department", self.department))
            if value
        ]
        where = ", ".join([self.subject, self.region or "/", *named])
        return f"缺口：没有路由 gap: no route fits ({where}, {amounts})"


def overlaps(routes: Sequence[Route]) -> Iterator[tuple[Route, Route, str]]:
    """Yield two routes of one region that name equally much and both fit one approval, and a subject of it."""
    for one, other in combinations(routes, 2):
        shared = [subject for subject in one.subjects if subject in other.subjects]
        if (
            shared
            and (one.region, one.names) == (other.region, other.names)
            and _may_agree(one.entity, other.entity)
            and _may_agree(one.department, other.department)
            and (one.amounts is None or other.amounts is None or one.amounts.meets(other.amounts))
        ):
            yield one, other, shared[0]


def _may_agree(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other


def gaps(routes: Sequence[Route], regions: Iterable[str], currencies: Iterable[str]) -> list[Gap]:
    """Return what no route fits, for every subject that is routed at all; a region repeats no hole of its parent.

    Args:
        routes: the table.
        regions: paths of the tree; nothing arises in its root if that has children.
        currencies: those in which legal entities book; what a route names is added.
    """
    tree = sorted(regions)
    places = [region for region in tree if region or len(tree) == 1]
    used = sorted({*currencies, *(route.amounts.currency for route in routes if route.amounts)})
    found: dict[Gap, None] = {}
    for subject in sorted({subject for route in routes for subject in route.subjects}):
        for region in places:
            here = [
                route for route in routes if subject in route.subjects and is_within(region, route.region)
            ]
            for gap in _holes(here, subject, region, used):
                if not any(replace(gap, region=parent) in found for parent in ancestors(region)[:-1]):
                    found[gap] = None
    return list(found)


def _holes(routes: Sequence[Route], subject: str, region: str, currencies: Sequence[str]) -> Iterator[Gap]:
    """Yield what is left over in a region; a hole for everybody is not told again for each entity and department."""
    entities = [None, *sorted({route.entity for route in routes if route.entity})]
    departments = [None, *sorted({route.department for route in routes if route.department})]
    for currency in currencies:
        for_all = _left(routes, None, None, currency)
        for entity, department in product(entities, departments):
            for low, below in _left(routes, entity, department, currency):
                if (entity, department) == (None, None) or (low, below) not in for_all:
                    yield Gap(subject, region, entity, department, currency, low, below)


def _left(
    routes: Sequence[Route], entity: str | None, department: str | None, currency: str
) -> list[tuple[Decimal, Decimal]]:
    """Return the amounts that no route fits, for one entity and department (None: one that nobody names)."""
    fitting = [
        route for route in routes if route.entity in (None, entity) and route.department in (None, department)
    ]
    if any(route.amounts is None for route in fitting):
        return []
    bands = sorted(
        (route.amounts.low, _NO_END if route.amounts.below is None else route.amounts.below)
        for route in fitting
        if route.amounts is not None and route.amounts.currency == currency
    )
    left, reached = [], Decimal(0)
    for low, below in [*bands, (_NO_END, _NO_END)]:
        if low > reached:
            left.append((reached, low))
        reached = max(reached, below)
    return left
