"""Masks for what a mapping is tried on: every value of a personal field, on both sides of it, and in every sentence.

Which CRM fields are personal their kinds say. A vendor's stream does not say it: there a field is personal if a mapping
reads it for a personal field of the CRM, and so is the vendor's key; what lies deeper in an object of theirs is masked
as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from hub.mapping import Compiled
from hub.model.kind import Kind
from hub.model.record import MISSING, Json, Missing
from hub.pipe.shadow import KEY, Given
from hub.sdk.secret import MASK
from hub.sdk.spec import ConnectorSpec

__all__ = ["Mask", "Masks", "masked"]

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_LONG: Final = 8
"""Characters from which on a masked text shows its last two: enough to see which one it is, too few to know it."""
_NET: Final = re.compile(
    r"[^\s@'\"<>]+@[^\s@'\"<>]+\.[A-Za-z]{2,}"  # a mailbox
    r"|(?<!\d)(?:\+?86[- ]?)?1[3-9]\d(?:[- ]?\d){8}(?!\d)"  # a mobile of the mainland
    r"|(?<!\d)\d{17}[\dXx](?!\d)"  # an identity card
)
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|“[^”]*”|\d{5,}")
_TEXTUAL: Final = frozenset({"text", "texts"})


def masked(value: Json | Missing) -> Json | Missing:
    """Return a value of the same build in which nothing can be read; null, absent and empty show as they are."""
    if isinstance(value, str):
        return _masked_text(value)
    if isinstance(value, dict):
        return {name: _json(masked(one)) for name, one in value.items()}
    if isinstance(value, list):
        return [_json(masked(one)) for one in value]
    return value if value is None or value is MISSING else MASK


def _json(value: Json | Missing) -> Json:
    assert not isinstance(value, Missing)  # nothing inside a value is absent
    return value


def _masked_text(text: str) -> str:
    if not text:
        return text
    if len(text) >= _LONG and not _DATE.match(text):
        return f"{text[0]}{MASK}{text[-2:]}"
    return f"{text[0]}{MASK}" if len(text) > 1 and not text.isascii() else MASK


@dataclass(frozen=True)
class Masks:
    """Which names are personal, for mappings of one source and target.

    ``sources``: source fields whose values are masked. ``tainting``: those of them that hold words: what is made of them is
    masked as well. ``targets``: target fields that are personal in themselves. ``nested``: objects inside the source are masked.
    """

    sources: frozenset[str]
    tainting: frozenset[str]
    targets: frozenset[str]
    reads: Mapping[str, frozenset[str]]
    nested: bool

    @classmethod
    def of(
        cls,
        mappings: Iterable[Compiled],
        kinds: Mapping[str, Kind],
        specs: Mapping[str, ConnectorSpec],
        used: Iterable[Compiled] = (),
    ) -> Masks:
        """Return the masks for mappings of one source and target: a draft, and what is in force.

        ``specs``: connector -> spec. ``used``: every mapping in force: what another one reads for a personal field is personal here.
        """
        given = list(mappings)
        reads: dict[str, frozenset[str]] = {}
        for compiled in given:
            for name, found in compiled.fields.items():
                reads[name] = reads.get(name, frozenset()) | found.reads
        kind = kinds[(given[0].source if given[0].direction == "out" else given[0].target).rpartition(".")[2]]
        if given[0].direction == "out":
            names = frozenset(name for one in reads.values() for name in one if _is_personal(kind, name))
            return cls(names, names, frozenset(), reads, nested=False)
        names = _told_by([*given, *used], given[0].source, kinds)
        types = _types(specs, given[0].source)
        words = frozenset(name for name in names if types.get(name, "text") in _TEXTUAL)
        targets = frozenset(name for name in reads if _is_personal(kind, name))
        return cls(names, words, targets, reads, nested=True)

    def of_record(self, given: Given) -> Mask:
        """Return the mask for one record."""
        words = dict.fromkeys(_words(given.source, self.tainting, deep=self.nested))
        return Mask(self, tuple(sorted(words, key=len, reverse=True)))


@dataclass(frozen=True, slots=True)
class Mask:
    """Masks what is shown of one record. ``words``: its personal texts, the longest first: they are masked wherever they stand."""

    masks: Masks
    words: tuple[str, ...]

    def source(self, name: str, value: Json | Missing) -> Json | Missing:
        """Return a source field's value as it may be shown."""
        hidden = name in self.masks.sources or name.partition(".")[0] in self.masks.sources
        if hidden or (self.masks.nested and _is_nested(value)):
            return masked(value)
        return self._open(value)

    def result(self, field: str, value: Json | Missing) -> Json | Missing:
        """Return a target field's value as it may be shown."""
        return masked(value) if self.hides(field) else self._open(value)

    def hides(self, field: str) -> bool:
        """Say whether a target field is personal, or made of what is."""
        name = field.partition("[")[0]
        reads = self.masks.reads.get(name, frozenset())
        return name == KEY or name in self.masks.targets or not reads.isdisjoint(self.masks.tainting)

    def text(self, text: str) -> str:
        """Return a sentence or a key without any personal text of the record."""
        for word in self.words:
            if word in text:
                text = text.replace(word, _masked_text(word))
        return _NET.sub(MASK, text)

    def why(self, field: str, message: str) -> str:
        """Return why a field failed; of a personal one the sentence alone, without what it quotes."""
        if self.hides(field) or not field:
            message = _QUOTED.sub(MASK, message)
        return self.text(message)

    def key(self, key: str) -> str:
        """Return a vendor's key so that it can be told from others; each part of it is masked."""
        return "/".join(map(_masked_text, key.split("/")))

    def waits(self, key: str) -> str:
        """Return a waiting key: what it waits for, without the vendor's id of it."""
        what, sign, rest = key.partition(":")
        if what != "arrival":
            return self.text(key)
        place, _, vendor_id = rest.rpartition("/")
        return f"{what}{sign}{self.text(place)}/{_masked_text(vendor_id)}"

    def _open(self, value: Json | Missing) -> Json | Missing:
        """Return a value that is not personal; a personal text inside it is masked nevertheless."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {name: _json(self._open(one)) for name, one in value.items()}
        if isinstance(value, list):
            return [_json(self._open(one)) for one in value]
        return MASK if isinstance(value, int) and abs(value) >= 10**10 and _NET.search(str(value)) else value


def _told_by(mappings: Iterable[Compiled], source: str, kinds: Mapping[str, Kind]) -> frozenset[str]:
    """Return the fields of a vendor's streams that are personal, going by what is made of them; its keys are."""
    connector = source.partition(".")[0]
    names: set[str] = set()
    for compiled in mappings:
        if compiled.direction == "out" or compiled.source.partition(".")[0] != connector:
            continue
        if compiled.source == source:
            names.update(compiled.key_fields)
        kind = kinds[compiled.target.rpartition(".")[2]]
        names.update(
            name
            for field, found in compiled.fields.items()
            if _is_personal(kind, field)
            for name in found.reads
        )
    return frozenset(names)


def _types(specs: Mapping[str, ConnectorSpec], source: str) -> Mapping[str, str]:
    connector, _, stream = source.partition(".")
    spec = specs.get(connector)
    return spec.streams[stream].fields if spec is not None and stream in spec.streams else {}


def _is_personal(kind: Kind, name: str) -> bool:
    """Say whether a name of the CRM's is personal; one that nobody knows is."""
    found = kind.held(name) or kind.held(name.partition(".")[0])
    return found is None or found.personal


def _is_nested(value: Json | Missing) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(one, dict) for one in value)
    )


def _words(value: Json, names: frozenset[str], *, deep: bool, inside: bool = False) -> Iterator[str]:
    """Yield the texts under these names that are worth looking for: short ones would mask half of every sentence."""
    if isinstance(value, dict):
        for name, one in value.items():
            if inside or name in names:
                yield from _words(one, names, deep=deep, inside=True)
            elif deep:
                yield from _words(one, names, deep=deep)
    elif isinstance(value, list):
        for one in value:
            yield from _words(one, names, deep=deep, inside=inside)
    elif inside and isinstance(value, str) and len(text := value.strip()) >= (4 if text.isascii() else 2):
        yield text
