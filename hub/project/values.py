"""What a project says, as values: connections, syncs, legal entities, regions, rules per kind.

``hub.yaml`` is read once at start by :mod:`hub.project.load`; the pipe sees only these values. Durations are
seconds; region paths end in ``/`` and the root is ``""``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from hub.model.kinds import KINDS, Kind
from hub.project.effects import EFFECTS, Effects
from hub.project.exports import Export
from hub.project.files import Files
from hub.project.notices import Notices
from hub.project.routes import Route
from hub.sdk.net import Outbound

if TYPE_CHECKING:
    from hub.mapping import Compiled
    from hub.model.record import Json

__all__ = [
    "API",
    "LANE_BULK",
    "LANE_LIVE",
    "LANE_MONEY",
    "RELEASED",
    "Admission",
    "Connection",
    "ContactRules",
    "KindRules",
    "LegalEntity",
    "MatchRule",
    "Project",
    "ProjectFile",
    "Retry",
    "Setting",
    "Sync",
    "TieRule",
]

API = "api"
"""The connector name of a connection whose system calls our API."""

RELEASED = "released"
"""The field of a payment that is true while it names no contract, or its contract is active."""

LANE_MONEY, LANE_LIVE, LANE_BULK = 0, 1, 2
"""Lanes: money and approvals before live changes, live before bulk."""

Setting: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Retry:
    """The durable retries of one sync: how often, and how long between (seconds, before jitter)."""

    max_attempts: int = 12
    initial_interval: float = 5.0
    backoff_coefficient: float = 2.0
    max_interval: float = 3600.0

    def delay(self, attempts: int) -> float:
        """Return the seconds to wait after that many attempts, without jitter."""
        exponent = min(max(attempts - 1, 0), 64)
        return float(min(self.max_interval, self.initial_interval * self.backoff_coefficient**exponent))


@dataclass(frozen=True, slots=True)
class Admission:
    """What a record must have before it may leave for a target; until then it waits, without an error."""

    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sync:
    """One 集成流: source -> mapping -> target.

    ``object``: the spec object written (out) or the object its stream shows (in). ``stream``: in only.
    ``mode``: observe or write (link comes with adoption). ``lane``: 0 money, 1 live, 2 bulk. ``org``: organisation number at the vendor,
    "" without. ``entity``: the legal entity it serves, None any. ``region``: the subtree it serves, "" any.
    ``authority``: CRM field -> crm, source, manual or newest; "*" is the default and always there.
    ``stop_at``, ``on_audited``: out only. ``schedule``: in only, seconds between polls, None: only by hand.
    ``options`` go to the connector with each write. ``mapped``: False for a CRM that sends its own fields by the API;
    such a sync has no mapping.
    """

    name: str
    direction: Literal["in", "out"]
    connection: str
    object: str
    stream: str | None
    kind: str
    mapping: Compiled
    mapped: bool = True
    revision: int = 0
    mode: str = "observe"
    lane: int = LANE_LIVE
    org: str = ""
    entity: str | None = None
    region: str = ""
    authority: Mapping[str, str] = field(default_factory=lambda: {"*": "crm"})
    stop_at: str | None = None
    on_audited: str | None = None
    on_delete: str = "ignore"
    on_leave: str = "ignore"
    on_missing: str = "recreate"
    accept_window: bool = False
    admission: Admission | None = None
    retry: Retry = Retry()
    schedule: float | None = None
    options: Mapping[str, Json] = field(default_factory=dict)

    def authority_of(self, name: str) -> str:
        """Return who wins when both sides changed that CRM field."""
        return self.authority.get(name) or self.authority["*"]


@dataclass(frozen=True, slots=True)
class Connection:
    """One set of credentials to one system, or one system that calls our API (``kind`` api).

    ``settings`` hold secrets only as references (``${secret:name}``, ``${env:NAME}``). ``region``: where records of
    this connection are put unless their owner has a region. ``entity``: the default legal entity. ``outbound``:
    how it may go out, with the private hosts an administrator opened. ``foreign``: what is sent there leaves the country;
    ``exports``: which personal fields may.
    """

    name: str
    connector: str
    kind: Literal["vendor", "api"] = "vendor"
    settings: Mapping[str, Setting] = field(default_factory=dict)
    outbound: Outbound = field(default_factory=Outbound)
    region: str = ""
    entity: str | None = None
    foreign: bool = False
    exports: tuple[Export, ...] = ()


@dataclass(frozen=True, slots=True)
class LegalEntity:
    """A 签约主体: who signs and books, and where: connection, account set, organisation numbers by role.

    ``orgs``: role (create, use, settle, pay) -> organisation number; a missing role means ``use``. ``accounts``: the
    bank accounts (我方账号) that are its own.
    """

    name: str
    title: str
    connection: str | None = None
    orgs: Mapping[str, str] = field(default_factory=dict)
    currency: str = "CNY"
    account_set: str | None = None
    accounts: tuple[str, ...] = ()

    def org(self, role: str = "use") -> str:
        """Return the organisation number for a role, "" if the table names none."""
        return self.orgs.get(role) or self.orgs.get("use") or ""

    def column(self, name: str) -> str:
        """Return what the table says, "" nothing: an organisation number by its role, title, currency, account_set, connection."""
        return self.org(name) if name in ORG_ROLES else str(getattr(self, name) or "")


ORG_ROLES = ("use", "create", "settle", "pay")
"""What an organisation of a legal entity does."""


@dataclass(frozen=True, slots=True)
class MatchRule:
    """One way to recognise a record: all ``fields`` are equal in normal form (and the region, if it says so).

    ``confidence``: ``sure`` (one hit is the record) or ``unsure`` (a hit is a candidate for a person).
    """

    fields: tuple[str, ...]
    confidence: Literal["sure", "unsure"]
    within_region: bool = False


@dataclass(frozen=True, slots=True)
class TieRule:
    """One way by which a contact joins a customer.

    ``by``: mobile (the customer's phone, or a mobile of a contact it has), company_name (the full name the vendor
    states), remark_company (what an employee noted), company_core (what people call it, of either).
    """

    by: Literal["mobile", "company_name", "remark_company", "company_core"]
    confidence: Literal["sure", "unsure"]
    within_region: bool = False


@dataclass(frozen=True, slots=True)
class ContactRules:
    """How a contact follows from the employees who have it, and how it gets its customer (person ≠ customer).

    ``owner``: earliest or latest: whose follow makes the owner; ``owner_regions``: regions whose employees come
    first, in that order. ``customer``: tried in order, the first that hits decides. ``create``: a company's name that
    no rule knows makes a customer.
    """

    owner: Literal["earliest", "latest"] = "earliest"
    owner_regions: tuple[str, ...] = ()
    customer: tuple[TieRule, ...] = (
        TieRule("mobile", "sure"),
        TieRule("company_name", "sure", within_region=True),
        TieRule("remark_company", "sure", within_region=True),
        TieRule("company_name", "unsure"),
        TieRule("remark_company", "unsure"),
        TieRule("company_core", "unsure"),
    )
    create: bool = True


@dataclass(frozen=True, slots=True)
class KindRules:
    """The rules of one CRM kind: match rules, tried in order; the first that hits decides."""

    kind: str
    match: tuple[MatchRule, ...]


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """One text of the project as it was read: it becomes a revision. ``kind``: project, mapping, value_map or field."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Project:
    """Everything a project says, checked; ``digest``: 32 hex digits over all its texts.

    ``declared``: the kinds of record with the custom fields that the project declares.
    ``users``: (connection, user id there in lower case) -> the employee's code, where the two differ.
    ``user_ids``: (connection, employee's code) -> the user id there, as hub.yaml writes it.
    ``releases``: payments wait for their contracts (an admission asks for it). ``account_entities``: our bank account ->
    the legal entity whose it is.
    ``drafts``: (kind, name) of texts in force whose file differs: nothing uses it until it is published; a value map of
    which nobody can tell the name goes by its file. ``absent``: (kind, name) of those in force that have no file.
    ``revisions``: (kind, name) -> the number of every text of the store when this was read.
    ``routes``: which approval system decides about what; ``effects``: what follows from its decision.
    ``notices``: who is told what stands still; None: nobody. ``shown_files``: where files lie that approvers are shown; None: none.
    """

    connections: Mapping[str, Connection]
    syncs: Mapping[str, Sync]
    entities: Mapping[str, LegalEntity]
    regions: tuple[str, ...]
    owners: Mapping[str, str]
    kinds: Mapping[str, KindRules]
    declared: Mapping[str, Kind] = field(default_factory=lambda: KINDS)
    files: tuple[ProjectFile, ...] = ()
    digest: str = ""
    drafts: tuple[tuple[str, str], ...] = ()
    absent: tuple[tuple[str, str], ...] = ()
    revisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    users: Mapping[tuple[str, str], str] = field(default_factory=dict)
    user_ids: Mapping[tuple[str, str], str] = field(default_factory=dict)
    contacts: ContactRules = ContactRules()
    routes: tuple[Route, ...] = ()
    effects: Effects = field(default_factory=lambda: EFFECTS)
    notices: Notices | None = None
    shown_files: Files | None = None
    _out: Mapping[str, tuple[Sync, ...]] = field(init=False, repr=False, compare=False)
    _in: Mapping[tuple[str, str], Sync] = field(init=False, repr=False, compare=False)
    releases: bool = field(init=False, repr=False, compare=False)
    account_entities: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the syncs: they are looked up for every record."""
        out: dict[str, tuple[Sync, ...]] = {}
        inbound: dict[tuple[str, str], Sync] = {}
        for sync in self.syncs.values():
            if sync.direction == "out":
                out[sync.kind] = (*out.get(sync.kind, ()), sync)
            else:
                inbound[(sync.connection, sync.object)] = sync
                if sync.stream is not None:
                    inbound[(sync.connection, sync.stream)] = sync
        object.__setattr__(self, "_out", out)
        object.__setattr__(self, "_in", inbound)
        waiting = (sync.admission for sync in out.get("payment", ()) if sync.admission)
        object.__setattr__(self, "releases", any(RELEASED in one.fields for one in waiting))
        owned = {account: one.name for one in self.entities.values() for account in one.accounts}
        object.__setattr__(self, "account_entities", owned)

    def sync(self, name: str) -> Sync | None:
        """Return the sync of that name."""
        return self.syncs.get(name)

    def syncs_out(self, kind: str) -> tuple[Sync, ...]:
        """Return the syncs that carry records of that kind out, in the order of the file."""
        return self._out.get(kind, ())

    def sync_in(self, connection: str, name: str) -> Sync | None:
        """Return the sync that takes that object, or stream, of the connection in."""
        return self._in.get((connection, name))

    def entity(self, name: str) -> LegalEntity | None:
        """Return the legal entity of that name."""
        return self.entities.get(name)

    def kind(self, name: str) -> Kind:
        """Return a kind of record, with the custom fields that are declared for it.

        Raises:
            KeyError: there is no such kind.
        """
        return self.declared[name]

    def rules(self, kind: str) -> KindRules:
        """Return the rules of a kind (none stated: no match rules)."""
        return self.kinds.get(kind) or KindRules(kind, ())

    def region_of(self, connection: str, owner: str | None) -> str:
        """Return the region a record gets: its owner's, else that of the connection it came by."""
        if owner is not None and owner in self.owners:
            return self.owners[owner]
        found = self.connections.get(connection)
        return found.region if found is not None else ""

    def employee(self, connection: str, user: str) -> str:
        """Return the code of the employee whom a connection knows under a user id; vendors do not heed its case."""
        return self.users.get((connection, user.lower()), user.lower())

    def user_id(self, connection: str, employee: str) -> str:
        """Return the user id by which a connection knows an employee: what hub.yaml says, else the code itself."""
        return self.user_ids.get((connection, employee), employee)

    def legal_entity(self, name: str, column: str) -> str:
        """Return what the table of legal entities says.

        Raises:
            LookupError: there is no such entity.
        """
        known = self.entities.get(name)
        if known is None:
            raise LookupError(f"there is no legal entity {name[:40]!r} in hub.yaml")
        return known.column(column)

    def with_revisions(self, revisions: Mapping[tuple[str, str], int]) -> Project:
        """Return the same project with the numbers of its texts; its syncs carry those of their mappings."""
        syncs = {
            name: replace(sync, revision=revisions.get(("mapping", sync.mapping.name), sync.revision))
            for name, sync in self.syncs.items()
        }
        return replace(self, syncs=syncs, revisions=dict(revisions))
