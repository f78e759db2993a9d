"""The CloudEvents 1.0 envelope in binary content mode: attributes as headers, the data as the body."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from hub.model.fields import store_instant

__all__ = ["Event", "InvalidEvent"]

_REQUIRED: Final = ("id", "source", "type")
_NAMED: Final = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype"})
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,20}", re.ASCII)
_PREFIX: Final = "ce_"
_CONTENT_TYPE: Final = "content-type"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class InvalidEvent(ValueError):
    """The headers are not those of a CloudEvent 1.0."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    ``id`` is unique within ``source``. ``time``: a moment in UTC (``2026-01-10T02:03:04Z``) or None. ``data``: the body's bytes as they are.
    ``extensions``: further attributes, names of lower-case letters and digits (``traceparent``, ``observedat``, ``hint`` …).
    """

    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    data: bytes = b""
    content_type: str = "application/json"
    extensions: Mapping[str, str] = field(default_factory=lambda: _NONE)

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the headers of the binary mode (Kafka protocol binding: prefix ``ce_``), in a fixed order.

        Raises:
            InvalidEvent: a required attribute is empty or an extension has a reserved or ill-formed name.
        """
        self._check()
        named = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": self.time,
        }
        attributes = {**named, **dict(sorted(self.extensions.items()))}
        found = [(_PREFIX + name, value.encode()) for name, value in attributes.items() if value is not None]
        return [*found, (_CONTENT_TYPE, self.content_type.encode())]

    def _check(self) -> None:
        for name in _REQUIRED:
            if not getattr(self, name):
                raise InvalidEvent(f"attribute {name!r} is empty")
        for name in self.extensions:
            if name in _NAMED or name == "data" or not _EXTENSION.fullmatch(name):
                raise InvalidEvent(f"{name[:40]!r} is not the name of an extension")

    @classmethod
    def parse(cls, headers: Iterable[tuple[str, bytes]], body: bytes) -> Event:
        """Read an event from binary-mode headers and a body; other headers are left alone.

        Raises:
            InvalidEvent: a required attribute is absent, doubled, not UTF-8, or the version is not 1.0.
        """
        attributes: dict[str, str] = {}
        content_type = "application/json"
        for name, raw in headers:
            lower = name.lower()
            try:
                value = raw.decode()
            except UnicodeDecodeError:
                if not lower.startswith(_PREFIX):
                    continue
                raise InvalidEvent(f"header {name[:40]!r} is not UTF-8") from None
            if lower == _CONTENT_TYPE:
                content_type = value
            elif lower.startswith(_PREFIX):
                attribute = lower.removeprefix(_PREFIX)
                if attribute in attributes:
                    raise InvalidEvent(f"header {name[:40]!r} is there twice")
                attributes[attribute] = value
        return cls._of(attributes, content_type, body)

    @classmethod
    def _of(cls, attributes: dict[str, str], content_type: str, body: bytes) -> Event:
        if attributes.pop("specversion", None) != "1.0":
            raise InvalidEvent("the version of the envelope is not 1.0")
        absent = [name for name in _REQUIRED if not attributes.get(name)]
        if absent:
            raise InvalidEvent(f"attribute {absent[0]!r} is absent")
        time = attributes.pop("time", None)
        if time is not None:
            try:
                time = store_instant(time)
            except ValueError as error:
                raise InvalidEvent(f"time: {error}") from None
        event = cls(
            id=attributes.pop("id"),
            source=attributes.pop("source"),
            type=attributes.pop("type"),
            subject=attributes.pop("subject", None),
            time=time,
            data=body,
            content_type=content_type,
            extensions=MappingProxyType(attributes),
        )
        event._check()
        return event
