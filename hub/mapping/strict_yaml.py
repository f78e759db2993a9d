"""YAML, read strictly: every scalar is a text, every value knows its place.

Refused are duplicate keys, anchors, aliases, tags, directives, several documents, merge keys and complex keys, and whatever
is larger or deeper than a person writes. Events are read one by one: nothing is built from what is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Union

from ruamel.yaml import YAML, events
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from hub.mapping.problems import Mark, Problem, YamlInvalid
from hub.model.record import Json

__all__ = ["Document", "Path", "Yaml", "load_yaml", "typed"]

Yaml = Union[str, "list[Yaml]", "dict[str, Yaml]"]
"""What a strict file holds: texts, lists and mappings. An empty value is the empty text."""
Path = tuple[str | int, ...]
"""The way to a value: keys and list positions from the top."""

_MOST_CHARACTERS: Final = 512 * 1024
_MOST_NODES: Final = 50_000
_DEEPEST: Final = 20


@dataclass(frozen=True, slots=True)
class Document:
    """A file's value with the place of each part; paths are tuples of keys and positions."""

    file: str
    value: Yaml
    marks: dict[Path, Mark]
    keys: dict[Path, Mark]
    plain: frozenset[Path]
    quoted: frozenset[Path]

    def mark(self, path: Path = ()) -> Mark:
        """Return where the value at ``path`` begins; an unknown path has the place of its nearest known part."""
        while path not in self.marks and path:
            path = path[:-1]
        return self.marks[path]

    def key(self, path: Path) -> Mark:
        """Return where the key of the value at ``path`` stands."""
        return self.keys.get(path) or self.mark(path)

    def is_plain(self, path: Path) -> bool:
        """Tell whether the scalar at ``path`` was written without quotes (``true`` or ``12``, not ``"12"``)."""
        return path in self.plain

    def problem(
        self, path: Path, message: str, *, nearest: str | None = None, at_key: bool = False
    ) -> Problem:
        """Return a problem at this path; ``at_key`` points to the key in place of the value."""
        mark = self.key(path) if at_key else self.mark(path)
        field = ".".join(str(part) for part in path)
        return Problem(self.file, mark.line, mark.column, field, message, nearest)


def load_yaml(text: str, *, file: str) -> Document:
    """Read one YAML document; ``file`` is the name that problems carry.

    Raises:
        YamlInvalid: not YAML, or something the strict reading refuses (see the module).
    """
    return _Reader(text, file).read()


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._nodes = 0
        self._marks: dict[Path, Mark] = {}
        self._keys: dict[Path, Mark] = {}
        self._plain: set[Path] = set()
        self._quoted: set[Path] = set()
        if len(text) > _MOST_CHARACTERS:
            self._refuse(Mark(1, 1), f"the file is larger than {_MOST_CHARACTERS} characters")
        self._text = text

    def read(self) -> Document:
        self._events = self._stream()
        try:
            first = next(self._events, None)
            value: Yaml = "" if first is None else self._node(first, (), 1)
            if first is None:
                self._marks[()] = Mark(1, 1)
            for extra in self._events:
                self._refuse(_mark(extra), "more than one document in the file")
        except MarkedYAMLError as error:
            place = error.problem_mark or error.context_mark
            mark = Mark(place.line + 1, place.column + 1) if place else Mark(1, 1)
            self._refuse(mark, f"not YAML: {error.problem or error.context}")
        except (YAMLError, ValueError) as error:
            self._refuse(Mark(1, 1), f"not YAML: {str(error).partition(chr(10))[0]}")
        return Document(
            self._file, value, self._marks, self._keys, frozenset(self._plain), frozenset(self._quoted)
        )

    def _stream(self) -> Iterator[Any]:
        """Yield the events of nodes; everything else is checked here."""
        for event in YAML(typ="safe", pure=True).parse(self._text):
            if isinstance(event, (events.StreamStartEvent, events.StreamEndEvent, events.DocumentEndEvent)):
                continue
            if isinstance(event, events.DocumentStartEvent):
                if event.version or event.tags:
                    self._refuse(_mark(event), "directives are not allowed")
                continue
            yield event

    def _node(self, event: Any, path: Path, depth: int) -> Yaml:
        self._nodes += 1
        mark = self._marks[path] = _mark(event)
        if self._nodes > _MOST_NODES:
            self._refuse(mark, f"the file holds more than {_MOST_NODES} values")
        if depth > _DEEPEST:
            self._refuse(mark, f"nested deeper than {_DEEPEST}")
        if isinstance(event, events.AliasEvent):
            self._refuse(mark, "aliases (*name) are not allowed")
        if event.anchor:
            self._refuse(mark, "anchors (&name) are not allowed")
        if event.tag is not None and str(event.tag) != "!":
            self._refuse(mark, "tags (!name) are not allowed")
        if isinstance(event, events.ScalarEvent):
            (self._quoted if event.style in ("'", '"') else self._plain if not event.style else set()).add(
                path
            )
            return str(event.value)
        if isinstance(event, events.SequenceStartEvent):
            return self._sequence(path, depth)
        return self._mapping(path, depth)

    def _sequence(self, path: Path, depth: int) -> list[Yaml]:
        items: list[Yaml] = []
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Yaml]:
        found: dict[str, Yaml] = {}
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            mark = _mark(event)
            if not isinstance(event, events.ScalarEvent) or event.anchor or event.tag is not None:
                self._refuse(mark, "a key must be a plain text")
            key = str(event.value)
            if key in found:
                first = self._keys[*path, key].line
                self._refuse(mark, f"the key {key!r} is there twice; first in line {first}")
            if key == "<<":
                self._refuse(mark, "merge keys (<<) are not allowed")
            self._keys[*path, key] = mark
            found[key] = self._node(next(self._events), (*path, key), depth + 1)
        return found

    def _refuse(self, mark: Mark, message: str) -> NoReturn:
        raise YamlInvalid([Problem(self._file, mark.line, mark.column, "", message)])


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,15})(?:\.\d{1,12})?", re.ASCII)
_WORDS: Final[dict[str, Json]] = {"null": None, "true": True, "false": False}


def typed(document: Document, path: Path) -> Json:
    """Return the value at ``path`` with JSON's own scalars: unquoted null, true, false and JSON numbers; all else is text."""
    value = document.value
    for part in path:
        value = value[part]  # type: ignore[index]  # the caller names a path of the document
    return _typed(document, value, path)


def _typed(document: Document, value: Yaml, path: Path) -> Json:
    if isinstance(value, dict):
        return {key: _typed(document, item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(document, item, (*path, index)) for index, item in enumerate(value)]
    if not document.is_plain(path):
        return value
    if value in _WORDS:
        return _WORDS[value]
    if _JSON_NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    return value
