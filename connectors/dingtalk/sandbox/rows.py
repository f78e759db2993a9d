"""What the stand-in holds: departments, people, templates, approval instances with their tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hub.sdk.sandbox import Json

__all__ = [
    "Department",
    "Instance",
    "Notice",
    "Row",
    "Task",
    "Template",
    "User",
    "form_of",
    "row_of",
    "stored",
]

Values = list[dict[str, Json]]


@dataclass(slots=True)
class Department:
    """A department; the root is 1 and stands for the company. Education trees have negative ids (sheet 3)."""

    dept_id: int
    name: str
    parent_id: int = 1
    source_identifier: str = ""
    code: str = ""
    order: int = 0


@dataclass(slots=True)
class User:
    """One employee; ``active`` False: not activated, ``left``: no employee any more."""

    userid: str
    name: str
    dept_id_list: list[int]
    unionid: str = ""
    mobile: str = ""
    title: str = ""
    job_number: str = ""
    email: str = ""
    active: bool = True
    left: bool = False


@dataclass(slots=True)
class Template:
    """A form with its flow.

    ``items``: the schema's components. ``nodes``: the flow in order, each ``{activityId, name, kind (approval,
    target_select, notifier), method (AND, OR, ONE_BY_ONE), users, when, auto, actorKey, range, required}``.
    """

    process_code: str
    name: str
    items: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    status: str = "PUBLISHED"
    modified: int = 0
    withdrawable: bool = True
    suite: bool = False


@dataclass(slots=True)
class Task:
    """One person's turn in an instance; times in ms, 0: not yet."""

    task_id: int
    userid: str
    activity_id: str
    status: str = "RUNNING"
    result: str = ""
    created: int = 0
    finished: int = 0


@dataclass(slots=True)
class Instance:
    """One approval; times in ms. ``dept_id`` as the API has it (-1 is the root)."""

    id: str
    process_code: str
    business_id: str
    title: str
    originator: str
    dept_id: int
    values: Values
    nodes: list[dict[str, Any]]
    created: int
    finished: int = 0
    status: str = "RUNNING"
    result: str = ""
    at_node: int = -1
    tasks: list[Task] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    cc: list[str] = field(default_factory=list)
    biz_action: str = "NONE"
    main: str = ""
    attached: list[str] = field(default_factory=list)
    gone: bool = False


@dataclass(slots=True)
class Notice:
    """One work notice; ``dropped``: who never saw it, and the code that says why; ``invalid``: who is nobody here."""

    task_id: int
    userids: list[str]
    msg: dict[str, Any]
    sent: int
    dropped: dict[str, int] = field(default_factory=dict)
    recalled: bool = False
    invalid: list[str] = field(default_factory=list)


Row = Department | User | Template | Instance | Notice
_KINDS: Mapping[str, type[Any]] = {
    "department": Department, "user": User, "template": Template, "approval": Instance, "notice": Notice,
}  # fmt: skip


def row_of(form: str, stored: Mapping[str, Any]) -> Row:
    """Return the row a ledger's line holds (what `dataclasses.asdict` wrote)."""
    kind = _KINDS[form]
    values = dict(stored)
    if kind is Instance:
        values["tasks"] = [Task(**one) for one in values["tasks"]]
    made: Row = kind(**values)
    return made


def form_of(row: Row) -> str:
    """Return the ledger's word for a row."""
    return next(form for form, kind in _KINDS.items() if isinstance(row, kind))


def stored(row: Row) -> dict[str, Any]:
    """Return a row as the ledger keeps it."""
    return asdict(row)
