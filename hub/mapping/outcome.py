"""What a mapping is given beside its source, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hub.model.record import Json

__all__ = ["Context", "Failed", "Left", "Mapped", "Outcome", "Wait"]


class Mapped(NamedTuple):
    """The rendered record.

    ``key``: inbound the vendor key, outbound the record's id. ``fields``: inbound flat CRM fields, outbound the nested
    payload in the order of the file.
    """

    key: str
    fields: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Wait:
    """Something else must exist first; ``key`` is the waiting key that the look-up chose (``xref:…``)."""

    key: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A field could not be mapped. ``excerpt`` shows the values it read (personal, perhaps), cut short."""

    field: str
    message: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """The record is outside the mapping's ``when``."""


Outcome = Mapped | Wait | Failed | Left


def _no_link(_url: str) -> str | None:
    return None


def _no_entity(name: str, _column: str) -> str:
    raise LookupError(f"there is no legal entity {name[:40]!r}")


def _no_xref(target: str, value: str) -> str | Wait:
    return Wait(f"xref:{target}/{value}")


@dataclass(slots=True, kw_only=True)  # not frozen: five times as dear to make, for every record
class Context:
    """The world of one run; everything a function may know beside its arguments.

    ``region`` picks the overlay of ``regions:``. ``record``: the record's id (32 hex digits), outbound. ``org``: the
    organisation's number at the vendor. ``business_key``: the number fixed for the life of the object there.
    ``xref``: (object such as ``kingdee.customer``, value) → the other side's identifier, or what to wait for. Outbound
    the value is a record id and the answer the vendor's stable key; inbound the value is the vendor's and the answer a
    record id. ``user``: a user's id at this connection → the code of the employee; ``user_at``: the reverse, outbound.
    ``legal_entity``: (its name, a column of the project's table) → what stands there.
    ``file_link``: the address of a file of the record → a link that opens on a phone, None: no link is made.
    """

    region: str = ""
    record: str | None = None
    org: str | None = None
    business_key: str | None = None
    xref: Callable[[str, str], str | Wait] = _no_xref
    user: Callable[[str], str] = str.lower
    user_at: Callable[[str], str] = str
    legal_entity: Callable[[str, str], str] = _no_entity
    file_link: Callable[[str], str | None] = _no_link
