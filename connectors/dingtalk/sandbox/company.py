"""The corp: its departments, people, templates and approvals; every change is an effect in the ledger."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from connectors.dingtalk.sandbox.rows import (
    Department,
    Instance,
    Notice,
    Row,
    Template,
    User,
    form_of,
    row_of,
    stored,
)
from hub.sdk.sandbox import Effect, EffectLedger, Json

__all__ = ["ROOT", "Company"]

ROOT = 1
MS = 1000


class Company:
    """Rows by their keys; ``put`` and ``drop`` change them and write the effect down."""

    def __init__(self, ledger: EffectLedger, now: Callable[[], int]) -> None:
        """Take the ledger and the clock (µs); the rows are preloaded or replayed."""
        self._ledger, self._now = ledger, now
        self.departments: dict[int, Department] = {}
        self.users: dict[str, User] = {}
        self.templates: dict[str, Template] = {}
        self.instances: dict[str, Instance] = {}
        self.notices: dict[int, Notice] = {}
        self.numbers = itertools.count(1)

    def now_ms(self) -> int:
        """Return ms since the epoch."""
        return self._now() // MS

    def preload(self, *rows: Row) -> None:
        """Have rows that were always there: no effect."""
        for row in rows:
            self._keep(row)

    def replay(self, effect: Effect) -> None:
        """Take a row from an effect; one that is gone is forgotten."""
        for _ in range(5):  # more than one change takes: no number comes twice after a restart
            next(self.numbers)
        if effect.after is None:
            self._table(effect.form).pop(_typed(effect.form, effect.id), None)
        else:
            self._keep(row_of(effect.form, effect.after))

    def put(self, verb: str, row: Row, *, by: str, fields: dict[str, Json] | None = None) -> None:
        """Keep a row as it is now and write the effect down."""
        self._keep(row)
        form = form_of(row)
        self._ledger.record(
            verb, form, at=self._now(), key=_key(row), number=_number(row), by=by,
            fields=fields if fields is not None else _shown(row), after=stored(row),
        )  # fmt: skip

    def drop(self, verb: str, row: Row, *, by: str) -> None:
        """Forget a row and write the effect down."""
        form = form_of(row)
        self._table(form).pop(_key(row), None)
        self._ledger.record(
            verb,
            form,
            at=self._now(),
            key=_key(row),
            number=_number(row),
            by=by,
            fields=_shown(row),
            after=None,
        )

    # ------------------------------------------------------------------------------------------ questions

    def is_active(self, userid: str) -> bool:
        """Say whether somebody works here."""
        user = self.users.get(userid)
        return user is not None and user.active and not user.left

    def department_ids(self, user: User) -> list[int]:
        """Return a person's departments as the approval API has them: the root is -1 (sheet 2.1)."""
        return [-1 if one == ROOT else one for one in user.dept_id_list]

    def children(self, dept_id: int) -> list[Department]:
        """Return one level below a department, in order of ids."""
        return sorted((one for one in self.departments.values() if one.parent_id == dept_id and one.dept_id != ROOT),
                      key=lambda one: one.dept_id)  # fmt: skip

    def path_up(self, dept_id: int) -> list[int]:
        """Return a department and what it lies in, up to the root."""
        path: list[int] = []
        while dept_id in self.departments and dept_id not in path:
            path.append(dept_id)
            if dept_id == ROOT:
                break
            dept_id = self.departments[dept_id].parent_id
        return path

    def members(self, dept_id: int) -> list[User]:
        """Return who belongs to a department directly, in order of ids."""
        return sorted((one for one in self.users.values() if dept_id in one.dept_id_list and not one.left),
                      key=lambda one: one.userid)  # fmt: skip

    def sees(self, visible: Iterable[int], dept_id: int) -> bool:
        """Say whether a department lies in an app's visible range."""
        return bool(set(self.path_up(dept_id)) & set(visible))

    def started(self) -> Iterator[Instance]:
        """Give the instances in the order of their start."""
        return iter(
            sorted(
                (one for one in self.instances.values() if not one.gone),
                key=lambda one: (one.created, one.id),
            )
        )

    # ------------------------------------------------------------------------------------------ tables

    def _table(self, form: str) -> dict[Any, Any]:
        tables: dict[str, dict[Any, Any]] = {
            "department": self.departments, "user": self.users, "template": self.templates, "approval": self.instances,
            "notice": self.notices,
        }  # fmt: skip
        return tables[form]

    def _keep(self, row: Row) -> None:
        self._table(form_of(row))[_key(row)] = row


def _key(row: Row) -> Any:
    match row:
        case Department():
            return row.dept_id
        case User():
            return row.userid
        case Template():
            return row.process_code
        case Notice():
            return row.task_id
        case _:
            return row.id


def _number(row: Row) -> str:
    return row.business_id if isinstance(row, Instance) else str(_key(row))


def _typed(form: str, key: int | str) -> int | str:
    return int(key) if form in ("department", "notice") else str(key)


def _shown(row: Row) -> dict[str, Json]:
    """Return what a person reads of a row."""
    match row:
        case Instance():
            values = {str(one["name"]): one["value"] for one in row.values}
            return {
                "processCode": row.process_code, "originator": row.originator, "status": row.status, "result": row.result,
                "bizAction": row.biz_action, **values,
            }  # fmt: skip
        case Notice():
            return {"userids": row.userids, "msg": row.msg}
        case _:
            return {name: value for name, value in stored(row).items() if name not in ("items", "nodes")}
