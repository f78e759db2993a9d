"""Columns as PostgreSQL arrays in the binary format, one class per element type.

psycopg's own list dumper looks at every element to find a type and picks the smallest integer array that fits, so
that one statement is prepared again and again under different types. Here the type comes from the table's column,
and packing is one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, ClassVar

from psycopg.adapt import Dumper
from psycopg.pq import Format

__all__ = ["ARRAYS", "register"]

_HEAD = Struct("!iiIii").pack  # dimensions, has NULLs, element type, length, lower bound
_NULL = b"\xff\xff\xff\xff"
_length = Struct("!i").pack


def _fixed(layout: str) -> Callable[[Any], bytes]:
    packer = Struct(f"!i{layout}")
    pack, size = packer.pack, packer.size - 4
    return lambda value: pack(size, value)


def _bytes(value: bytes) -> bytes:
    return _length(len(value)) + value


def _text(value: str) -> bytes:
    data = value.encode()
    return _length(len(data)) + data


class _Array:
    """One column of a bulk statement."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values


class _ArrayDumper(Dumper):
    format = Format.BINARY
    element: ClassVar[int]
    pack: ClassVar[Callable[[Any], bytes]]

    def dump(self, obj: _Array) -> bytes:
        values, pack = obj.values, type(self).pack
        body = b"".join([_NULL if value is None else pack(value) for value in values])
        return _HEAD(1, None in values, self.element, len(values), 1) + body


# element type: (its oid, the oid of its array type, how one element is packed); pg_type.dat of PostgreSQL
_TYPES: dict[str, tuple[int, int, Callable[[Any], bytes]]] = {
    "bigint": (20, 1016, _fixed("q")),
    "integer": (23, 1007, _fixed("i")),
    "boolean": (16, 1000, _fixed("?")),
    "bytea": (17, 1001, _bytes),
    "text": (25, 1009, _text),
}

ARRAYS: dict[str, type[_Array]] = {
    kind: type(f"Array_{kind}", (_Array,), {"__slots__": ()}) for kind in _TYPES
}
"""The array class of each column type."""

_DUMPERS: dict[str, type[_ArrayDumper]] = {
    kind: type(
        f"Dumper_{kind}", (_ArrayDumper,), {"oid": array, "element": element, "pack": staticmethod(pack)}
    )
    for kind, (element, array, pack) in _TYPES.items()
}


def register(connection: Any) -> None:
    """Teach one psycopg connection the array classes."""
    for kind, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(ARRAYS[kind], dumper)
