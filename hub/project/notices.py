"""Who is told what stands still, and how an approval ended: the section ``notices`` of hub.yaml.

A dead letter has a business addressee: its owner, the finance of its legal entity, or IT. The rules are tried in order,
the first that fits decides; where the file states none, the shipped ones hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hub.errors import Bilingual, Cause
from hub.model.kinds import KINDS
from hub.model.region import is_within

if TYPE_CHECKING:
    from hub.project.section import Section
    from hub.project.values import Connection, LegalEntity
    from hub.sdk.spec import ConnectorSpec

__all__ = ["SHIPPED", "Addressee", "NoticeRule", "Notices", "Staff", "read_notices"]

EVERY: Final = 300.0
SHORTEST: Final = 30.0
LONGEST: Final = 86_400.0
MOST_PEOPLE: Final = 100
"""Whom one notice reaches at DingTalk."""


class Addressee(Bilingual):
    """Whose business it is."""

    OWNER = "owner", "负责人", "the owner"
    FINANCE = "finance", "签约主体的财务", "the finance of the legal entity"
    IT = "it", "IT", "IT"


@dataclass(frozen=True, slots=True)
class NoticeRule:
    """Dead letters of these causes and kinds are told to ``to``. Empty: of any."""

    to: Addressee
    causes: frozenset[Cause] = frozenset()
    kinds: frozenset[str] = frozenset()

    def fits(self, cause: Cause, kind: str | None) -> bool:
        """Say whether a dead letter is one of those; ``kind`` None: nobody knows of what it is."""
        return (not self.causes or cause in self.causes) and (not self.kinds or kind in self.kinds)


_MONEY: Final = frozenset(("payment", "contract", "approval"))
SHIPPED: Final = (
    NoticeRule(
        Addressee.OWNER,
        frozenset((Cause.INVALID, Cause.MISSING_FIELD, Cause.CONFLICT, Cause.FLIP_FLOP, Cause.CANDIDATE, Cause.TAKEN,
                   Cause.NOT_FOUND)),
        _MONEY,
    ),
    NoticeRule(
        Addressee.FINANCE,
        frozenset((Cause.PERIOD_CLOSED, Cause.AUDITED, Cause.STATE, Cause.ENTITY, Cause.DUPLICATE, Cause.ALREADY_DONE,
                   Cause.DOUBT, Cause.DOUBLED, Cause.LOCKED, Cause.MISSING_TARGET)),
        _MONEY,
    ),
    NoticeRule(Addressee.IT, kinds=_MONEY),
)  # fmt: skip
"""Money, contracts and approvals: what is wrong with the record is its owner's, with the books finance's, the rest IT's."""


@dataclass(frozen=True, slots=True)
class Notices:
    """The section. People are employees by their codes; ``every``: seconds in which one addressee hears of one cause once.

    ``finance``: legal entity -> its people. ``english``: regions whose records are told about in English.
    ``approvals``: an applicant is told how an approval ended.
    """

    connection: str
    it: tuple[str, ...]
    finance: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rules: tuple[NoticeRule, ...] = SHIPPED
    every: float = EVERY
    english: tuple[str, ...] = ()
    approvals: bool = True

    def addressee(self, cause: Cause, kind: str | None) -> Addressee | None:
        """Return whose business a dead letter is; None: nobody is told."""
        return next((rule.to for rule in self.rules if rule.fits(cause, kind)), None)

    def people(self, to: Addressee, who: str) -> tuple[str, ...]:
        """Return the employees: ``who`` is an owner's code or a legal entity; empty: nobody is named."""
        if to is Addressee.OWNER:
            return (who,) if who else ()
        return self.finance.get(who, ()) if to is Addressee.FINANCE else self.it

    def lang(self, region: str) -> str:
        """Return the language, zh or en, in which a record of a region is told about."""
        return "en" if any(is_within(region, one) for one in self.english) else "zh"


@dataclass(frozen=True, slots=True)
class Staff:
    """What the section may name. ``employees``: whom ``owners`` names."""

    connections: Mapping[str, Connection]
    specs: Mapping[str, ConnectorSpec]
    entities: Mapping[str, LegalEntity]
    employees: Collection[str]
    regions: tuple[str, ...]

    def senders(self) -> list[str]:
        """Return the connections that can tell people something."""
        found = ((name, self.specs.get(one.connector)) for name, one in self.connections.items())
        return [name for name, spec in found if spec is not None and spec.notifies]


def read_notices(top: Section, staff: Staff) -> Notices | None:
    """Return the section, None where the file has none; a problem for whoever is not known."""
    if not top.has("notices"):
        return None
    section = top.section("notices")
    finance = section.section("finance")
    for name in finance.names():
        if name not in staff.entities:
            message = f"there is no legal entity {name!r} in the table (entities)"
            finance.problem(name, message, known=staff.entities, named=name)
    if not section.has("it"):
        section.problem(None, "it is missing: who is told where nobody else is named")
    every = section.duration("every", EVERY) or EVERY
    if not SHORTEST <= every <= LONGEST:
        section.problem("every", "lies between 30s and 1d")
    rules = section.items("rules")
    made = Notices(
        connection=section.named(
            "connection", staff.senders(), "connection that can send notices", required=True
        )
        or "",
        it=_people(section, "it", staff),
        finance={name: _people(finance, name, staff) for name in finance.names()},
        rules=SHIPPED if rules is None else tuple(_rule(one) for one in rules),
        every=every,
        english=section.regions("english", staff.regions),
        approvals=section.flag("approvals", default=True),
    )
    section.close()
    return made


def _people(section: Section, key: str, staff: Staff) -> tuple[str, ...]:
    found = section.texts(key) or []
    if section.has(key) and not 1 <= len(found) <= MOST_PEOPLE:
        section.problem(key, f"1 to {MOST_PEOPLE} employees are expected")
    for name in found:
        if name not in staff.employees:
            section.problem(
                key, f"there is no employee {name!r} in owners", known=staff.employees, named=name
            )
    return tuple(dict.fromkeys(found))


def _rule(section: Section) -> NoticeRule:
    causes = {cause.value: cause for cause in Cause}
    known_to = tuple(one.value for one in Addressee)
    to = section.choice("to", known_to, "")
    if not to and not section.has("to"):
        section.problem(None, f"to is missing: {', '.join(known_to)}")
    named = section.texts("causes") or []
    for name in named:
        if name not in causes:
            section.problem("causes", f"there is no cause {name!r}", known=causes, named=name)
    kinds = section.texts("kinds") or []
    for name in kinds:
        if name not in KINDS:
            section.problem("kinds", f"there is no kind {name!r}", known=KINDS, named=name)
    section.close()
    known = frozenset(causes[name] for name in named if name in causes)
    return NoticeRule(Addressee(to) if to else Addressee.IT, known, frozenset(kinds))  # type: ignore[call-arg]
