"""The corp's database: a computed population below, changed rows above it, one effect for every change."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TypeAlias

from connectors.wecom.sandbox.population import Population, Spec
from connectors.wecom.sandbox.rows import (
    Department,
    Follow,
    Form,
    Member,
    Message,
    Person,
    Row,
    Tag,
    TagGroup,
    Template,
    Transfer,
    fields_of,
)
from hub.sdk.sandbox import Effect, EffectLedger, Json

__all__ = ["Corp"]

Pair: TypeAlias = tuple[str, str]

FORMS: Mapping[str, type[Row]] = {
    "department": Department, "follow": Follow, "member": Member, "contact": Person, "tag": Tag,
    "tag_group": TagGroup, "transfer": Transfer, "template": Template, "approval": Form,
    "message": Message,
}  # fmt: skip
FORM_OF = {row: form for form, row in FORMS.items()}
FIRST_SERIAL = 1 << 40
"""Follows that somebody made come after those of the population."""


class Corp:
    """All rows of one corp; ``put`` and ``drop`` alone change them, and both leave an effect."""

    def __init__(self, ledger: EffectLedger, clock: Callable[[], int]) -> None:
        """Take the ledger the effects go to and the clock (µs)."""
        self._ledger = ledger
        self._clock = clock
        self._moment: int | None = None
        self._changed: dict[Pair, Follow | None] = {}
        self._made: dict[str, tuple[list[int], list[Pair]]] = {}
        self._followers: dict[str, dict[str, None]] = {}
        self._count = 0
        self.population: Population | None = None
        self.people: dict[str, Person] = {}
        self.members: dict[str, Member] = {}
        self.departments: dict[int, Department] = {}
        self.tag_groups: dict[str, TagGroup] = {}
        self.tags: dict[str, Tag] = {}
        self.transfers: dict[int, Transfer] = {}
        self.templates: dict[str, Template] = {}
        self.forms: dict[str, Form] = {}
        self.messages: dict[str, Message] = {}
        self.contacts_version = 0
        """Grows with every change of members and departments."""

    # ------------------------------------------------------------------------------------------ time, ids

    def now(self) -> int:
        """Return µs since the epoch."""
        return self._clock() if self._moment is None else self._moment

    def seconds(self) -> int:
        """Return unix seconds, as the vendor stamps everything."""
        return self.now() // 1_000_000

    @contextlib.contextmanager
    def one_moment(self) -> Iterator[None]:
        """Stop time for what happens inside: the events of it share their second."""
        self._moment = self._clock()
        try:
            yield
        finally:
            self._moment = None

    def new_number(self) -> int:
        """Return the next number for ids of this corp."""
        self._count += 1
        return self._count

    # ------------------------------------------------------------------------------------------ look up

    def person(self, external_userid: str) -> Person | None:
        """Return a person, whether computed or stored."""
        stored = self.people.get(external_userid)
        if stored is not None or self.population is None:
            return stored
        number = self.population.number(external_userid)
        return None if number is None else self.population.person(number)

    def member(self, userid: str) -> Member | None:
        """Return an employee; the case of letters does not matter."""
        return self.members.get(userid.lower())

    def follow(self, userid: str, external_userid: str) -> Follow | None:
        """Return the relation of a pair."""
        pair = userid.lower(), external_userid
        if pair in self._changed:
            return self._changed[pair]
        serial = self._computed(pair)
        return None if serial is None or self.population is None else self.population.follow(serial)

    def followers(self, external_userid: str) -> list[Follow]:
        """Return all relations of a person, oldest first."""
        users = dict(self._followers.get(external_userid, {}))
        population = self.population
        number = population.number(external_userid) if population is not None else None
        if population is not None and number is not None:
            for serial in population.serials_of_person(number):
                users[population.follow(serial).userid.lower()] = None
        found = [follow for userid in users if (follow := self.follow(userid, external_userid)) is not None]
        return sorted(found, key=lambda follow: (follow.createtime, follow.serial))

    def follows_of(self, userid: str, after: int = -1) -> Iterator[Follow]:
        """Run over an employee's relations in their lasting order, those with a serial above ``after``."""
        user = userid.lower()
        if self.population is not None:
            for serial in self.population.serials_of_user(user, after):
                computed = self.population.follow(serial)
                found = self._changed.get(computed.key, computed)
                if found is not None and found.serial == serial:
                    yield found
        serials, pairs = self._made.get(user, ([], []))
        for place in range(bisect.bisect_right(serials, after), len(serials)):
            made = self._changed.get(pairs[place])
            if made is not None and made.serial == serials[place]:
                yield made

    def persons(self) -> Iterator[Person]:
        """Run over everybody, those of the population first."""
        if self.population is not None:
            for number in range(self.population.spec.people):
                external_userid = self.population.external_userid(number)
                yield self.people.get(external_userid) or self.population.person(number)
        for external_userid, person in list(self.people.items()):  # others go on while somebody reads
            if self.population is None or self.population.number(external_userid) is None:
                yield person

    def changed_persons(self) -> Iterator[Person]:
        """Run over those whom anybody added or changed since the population was put there."""
        ids = dict.fromkeys((*self.people, *(external_userid for _, external_userid in self._changed)))
        for external_userid in ids:
            person = self.person(external_userid)
            if person is not None:
                yield person

    # ------------------------------------------------------------------------------------------ change

    def new_serial(self) -> int:
        """Return the serial of a follow that is made now."""
        return FIRST_SERIAL + self.new_number()

    def put(self, row: Row, verb: str, by: str, fields: Mapping[str, Json] | None = None) -> None:
        """Store a row as it now is and record the effect; ``fields`` are added to the readable ones."""
        self._store(row)
        self._record(verb, row, by, {**fields_of(row), **(fields or {})}, fields_of(row))

    def drop(self, row: Row, verb: str, by: str, fields: Mapping[str, Json] | None = None) -> None:
        """Remove a row and record the effect."""
        self._remove(row)
        self._record(verb, row, by, {**fields_of(row), **(fields or {})}, None)

    def preload(self, row: Row) -> None:
        """Store what was always there: no effect."""
        self._store(row)

    def seed(self, spec: Spec) -> None:
        """Put a population there, as one effect.

        Raises:
            ValueError: there is one already.
        """
        if self.population is not None:
            raise ValueError("there is a population already: reset first")
        self._populate(spec)
        self._ledger.record(
            "seed", "population", at=self.now(), key=spec.seed, number=str(spec.people), by="seed",
            fields=asdict(spec), after=asdict(spec),
        )  # fmt: skip

    def replay(self, effect: Effect) -> None:
        """Apply an effect of the journal again, without recording it."""
        if effect.form == "population":
            self._populate(Spec(**effect.after))
        elif effect.form in FORMS:
            kind = FORMS[effect.form]
            names = kind.__dataclass_fields__
            if effect.after is None:
                self._remove(kind(**{name: effect.fields[name] for name in names}))
            else:
                self._store(kind(**effect.after))
        self._count = max(self._count, effect.seq * 4)  # ids of a restart differ from all before

    def _populate(self, spec: Spec) -> None:
        self.population = Population(spec)
        group, tags = self.population.tag_group()
        rows: list[Row] = [*self.population.departments(), *self.population.members(), group, *tags]
        for row in rows:
            self._store(row)

    def _computed(self, pair: Pair) -> int | None:
        population = self.population
        number = population.number(pair[1]) if population is not None else None
        return None if population is None or number is None else population.serial(pair[0], number)

    def _store(self, row: Row) -> None:
        match row:
            case Follow():
                old = self._changed.get(row.key)
                self._changed[row.key] = row
                self._followers.setdefault(row.external_userid, {})[row.key[0]] = None
                if row.serial >= FIRST_SERIAL and (old is None or old.serial != row.serial):
                    serials, pairs = self._made.setdefault(row.key[0], ([], []))
                    serials.append(row.serial)
                    pairs.append(row.key)
            case Member():
                self.members[row.userid.lower()] = row
                self.contacts_version += 1
            case Department():
                self.departments[row.id] = row
                self.contacts_version += 1
            case _:
                self._shelve(row)

    def _shelve(self, row: Person | Tag | TagGroup | Transfer | Template | Form | Message) -> None:
        """Store a row that nothing else hangs on."""
        match row:
            case Person():
                self.people[row.external_userid] = row
            case Tag():
                self.tags[row.id] = row
            case TagGroup():
                self.tag_groups[row.group_id] = row
            case Transfer():
                self.transfers[row.id] = row
            case Template():
                self.templates[row.template_id] = row
            case Form():
                self.forms[row.sp_no] = row
            case Message():
                self.messages[row.msgid] = row

    def _remove(self, row: Row) -> None:
        match row:
            case Follow():
                if self._computed(row.key) is not None:
                    self._changed[row.key] = None
                else:
                    self._changed.pop(row.key, None)
                self._followers.get(row.external_userid, {}).pop(row.key[0], None)
            case Member():
                self.members.pop(row.userid.lower(), None)
                self.contacts_version += 1
            case Department():
                self.departments.pop(row.id, None)
                self.contacts_version += 1
            case _:
                raise ValueError(f"{FORM_OF[type(row)]} rows are never removed")

    def _record(self, verb: str, row: Row, by: str, fields: dict[str, Json], after: Json) -> None:
        key, number = _names(row)
        self._ledger.record(
            verb, FORM_OF[type(row)], at=self.now(), key=key, number=number, by=by, fields=fields, after=after
        )


def _names(row: Row) -> tuple[str | int, str]:
    """Return what the ledger calls a row: its key, and the vendor's id a reader looks for."""
    match row:
        case Follow():
            return f"{row.userid}:{row.external_userid}", row.external_userid
        case Person():
            return row.external_userid, row.external_userid
        case Member():
            return row.userid, row.userid
        case TagGroup():
            return row.group_id, row.group_name
        case Transfer():
            return row.id, row.external_userid
        case Template():
            return row.template_id, row.names[0]["text"] if row.names else row.template_id
        case Form():
            return row.sp_no, row.sp_no
        case Message():
            return row.msgid, row.msgid
        case _:
            return row.id, row.name
