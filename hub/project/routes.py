"""Which approval system decides about what: the routing table of ``hub.yaml``, read once and asked for every approval.

A route is for a region and everything below it. Of the routes that fit, the one of the nearest region decides; within
one region, the one that names more (entity, department, amount). ``hub validate`` refuses a table in which two decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from hub.errors import Bilingual
from hub.model.kinds import KINDS
from hub.model.money import amount_text
from hub.model.region import is_within

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["SUBJECTS", "Amounts", "Approvers", "Facts", "Route", "Routing", "Tried", "Why", "route_of"]

SUBJECTS: Final = KINDS["approval"].fields["subject"].choices


@dataclass(frozen=True, slots=True)
class Facts:
    """What a route is chosen by. ``region``: of what is decided about, stored form. None: not stated."""

    subject: str
    region: str
    entity: str | None = None
    department: str | None = None
    amount: Decimal | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of one currency: ``low`` and more, less than ``below`` (None: no end)."""

    currency: str
    low: Decimal = Decimal(0)
    below: Decimal | None = None

    def holds(self, amount: Decimal) -> bool:
        """Say whether an amount of that currency lies between the two."""
        return self.low <= amount and (self.below is None or amount < self.below)

    def meets(self, other: Amounts) -> bool:
        """Say whether one amount lies in both."""
        return (
            self.currency == other.currency
            and (self.below is None or other.low < self.below)
            and (other.below is None or self.low < other.below)
        )

    def __str__(self) -> str:
        """Return ``>= 100000.00, < 200000.00 CNY``."""
        low = [f">= {amount_text(self.low)}"] if self.low or self.below is None else []
        below = [] if self.below is None else [f"< {amount_text(self.below)}"]
        return f"{', '.join(low + below)} {self.currency}"


@dataclass(frozen=True, slots=True)
class Approvers:
    """One step of a flow: ``mode`` all or any, and employees by their codes."""

    mode: str
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """One rule. ``approvers`` empty: the template's own flow decides who. ``cc``: employees by their codes."""

    name: str
    region: str
    subjects: tuple[str, ...]
    connection: str
    template: str
    entity: str | None = None
    department: str | None = None
    amounts: Amounts | None = None
    approvers: tuple[Approvers, ...] = ()
    cc: tuple[str, ...] = ()

    @property
    def names(self) -> int:
        """How many of entity, department and amount it names: of one region's routes the narrower one decides."""
        return sum(one is not None for one in (self.entity, self.department, self.amounts))

    def steps(self) -> list[Json]:
        """Return its approvers as the field ``approvers`` of an approval holds them."""
        return [{"mode": one.mode, "approvers": list(one.people)} for one in self.approvers]


class Why(Bilingual):
    """Why a route decides, or not; ``{fact}`` is the approval's, ``{rule}`` the route's."""

    CHOSEN = "chosen", "由它决定", "it decides"
    SUBJECT = (
        "subject",
        "审批事项是 {fact}，本规则只管 {rule}",
        "the subject is {fact}, this route is for {rule}",
    )
    REGION = "region", "大区 {fact} 不在 {rule} 之内", "the region {fact} is not within {rule}"
    ENTITY = (
        "entity",
        "签约主体是 {fact}，本规则要求 {rule}",
        "the legal entity is {fact}, this route wants {rule}",
    )
    DEPARTMENT = (
        "department",
        "部门是 {fact}，本规则要求 {rule}",
        "the department is {fact}, this route wants {rule}",
    )
    NO_AMOUNT = "no_amount", "没有金额，本规则要求 {rule}", "no amount is stated, this route wants {rule}"
    CURRENCY = (
        "currency",
        "币种是 {fact}，本规则按 {rule}",
        "the currency is {fact}, this route counts in {rule}",
    )
    AMOUNT = "amount", "金额 {fact} 不在 {rule} 之内", "the amount {fact} is outside {rule}"
    FARTHER = "farther", "也符合，但 {fact} 的大区更近", "it fits too, but {fact} is of a nearer region"
    WIDER = "wider", "也符合，但 {fact} 的条件更具体", "it fits too, but {fact} names more"


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one route. ``fact``, ``rule``: for the text of ``why``."""

    route: Route
    why: Why
    fact: str = ""
    rule: str = ""

    def told(self, lang: str) -> str:
        """Return the sentence, ``zh`` or ``en``."""
        return str(getattr(self.why, lang)).format(fact=self.fact, rule=self.rule)


@dataclass(frozen=True, slots=True)
class Routing:
    """The route that decides (None: no route fits), and what became of each, the nearest and narrowest first."""

    route: Route | None
    tried: tuple[Tried, ...]


def route_of(routes: Sequence[Route], facts: Facts) -> Routing:
    """Choose the route of an approval."""
    chosen: Route | None = None
    tried = []
    for route in sorted(routes, key=lambda one: (-one.region.count("/"), -one.names)):
        reason = _refusal(route, facts)
        if reason is None and chosen is None:
            chosen, reason = route, (Why.CHOSEN, "", "")
        elif reason is None and chosen is not None:
            reason = (Why.WIDER if chosen.region == route.region else Why.FARTHER, chosen.name, "")
        assert reason is not None  # the two branches leave none
        tried.append(Tried(route, *reason))
    return Routing(chosen, tuple(tried))


def _refusal(route: Route, facts: Facts) -> tuple[Why, str, str] | None:
    if facts.subject not in route.subjects:
        return Why.SUBJECT, facts.subject, ", ".join(route.subjects)
    if not is_within(facts.region, route.region):
        return Why.REGION, facts.region or "/", route.region
    for why, fact, rule in (
        (Why.ENTITY, facts.entity, route.entity),
        (Why.DEPARTMENT, facts.department, route.department),
    ):
        if rule not in (None, fact):
            return why, fact or "-", rule or ""
    amounts = route.amounts
    if amounts is None:
        return None
    if facts.amount is None or facts.currency is None:
        return Why.NO_AMOUNT, "", str(amounts)
    if facts.currency != amounts.currency:
        return Why.CURRENCY, facts.currency, amounts.currency
    if not amounts.holds(facts.amount):
        return Why.AMOUNT, f"{amount_text(facts.amount)} {facts.currency}", str(amounts)
    return None
