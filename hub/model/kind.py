"""What a kind of record is: its fields, the keys it is recognised by, and what a record of it cannot be without.

Custom fields stand under ``custom.<name>``. Which there are a project may declare (:mod:`hub.project.fields`); until it
does for a kind, every name goes and holds any JSON value: what a hub is first connected to must not be refused before
anybody has looked at it, and whatever nobody declared counts as personal.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hub.model import text
from hub.model.fields import Field
from hub.model.names import nearest
from hub.model.region import ancestors

__all__ = ["CUSTOM", "TAGS", "Kind", "declare"]

CUSTOM: Final = "custom."
"""What the names of custom fields begin with."""
TAGS: Final = "tags"
"""The built-in field whose values a project may list per region."""

_KEY_FORMS: Final[Mapping[str, Callable[[str], str]]] = {"company": text.company_key, "text": text.key_text}
"""Per type: stored form → key; other types are stored in their one form."""
_CUSTOM: Final = re.compile(r"custom\.[a-z][a-z0-9_]{0,59}", re.ASCII)
_NO_TAGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record.

    ``strong_keys``: fields that identify a record beyond doubt, unique in the store.
    ``match_keys``: fields that only suggest a match; each element of a list is a key.
    ``cores``: companies that are also found by what people call them (key ``<kind>.<field>~core``).
    ``keys``: of all of them, then of the references: field, name of the key, its form, whether it is strong.
    ``required``: the built-in fields that a record cannot be without.
    ``custom``: the custom fields by whole name, None: nobody declared any, so that all go. ``tags``: region path -> the
    tags that records there may carry; lists are inherited downwards, and a region without any takes every tag.
    """

    name: str
    title_zh: str
    title_en: str
    fields: Mapping[str, Field]
    strong_keys: tuple[str, ...] = ()
    match_keys: tuple[str, ...] = ()
    cores: tuple[str, ...] = ()
    custom: Mapping[str, Field] | None = None
    tags: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=lambda: _NO_TAGS)
    keys: tuple[tuple[str, str, Callable[[str], str], bool], ...] = dataclasses.field(init=False)
    required: tuple[str, ...] = dataclasses.field(init=False)
    regional: Mapping[str, Field] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Work out once what every record of the kind asks for."""
        strong = [(name, _KEY_FORMS.get(self.fields[name].type, str), True) for name in self.strong_keys]
        match = [(name, _KEY_FORMS.get(self.fields[name].type, str), False) for name in self.match_keys]
        cores = [(name, f"{name}~core", text.company_core, False) for name in self.cores]
        references = [(name, str, False) for name, known in self.fields.items() if known.reference]
        keys = [(name, f"{self.name}.{name}", form, sure) for name, form, sure in strong + match]
        keys += [(name, f"{self.name}.{key}", form, sure) for name, key, form, sure in cores]
        keys += [(name, f"{self.name}.{name}", form, sure) for name, form, sure in references]
        object.__setattr__(self, "keys", tuple(keys))
        object.__setattr__(
            self, "required", tuple(name for name, known in self.fields.items() if known.required)
        )
        custom = self.custom or {}
        object.__setattr__(self, "regional", {name: known for name, known in custom.items() if known.regions})

    def field(self, name: str) -> Field | None:
        """Return the field of this name that may be written, None if there is none."""
        if found := self.fields.get(name):
            return found
        if self.custom is not None:
            return self.custom.get(name)
        return Field(name, "json", name, name, personal=True) if _CUSTOM.fullmatch(name) else None

    def held(self, name: str) -> Field | None:
        """Return the field of this name that a record may hold: also a custom one that is declared no more."""
        return self.field(name) or (
            Field(name, "json", name, name, personal=True) if _CUSTOM.fullmatch(name) else None
        )

    def names(self) -> list[str]:
        """Return the name of every field, those of declared custom ones included."""
        return [*self.fields, *(self.custom or ())]

    def nearest(self, name: str) -> str | None:
        """Return the field whose name is most like this one."""
        return nearest(name, self.names())

    def is_personal(self, name: str) -> bool:
        """Tell whether a field holds personal values; a custom one that is not declared counts as personal."""
        found = self.held(name)
        return found is not None and found.personal

    def hidden(self, region: str, names: Iterable[str]) -> list[str]:
        """Return those of the names whose fields records of this region do not have."""
        if not self.regional:
            return []
        return [name for name in names if name in self.regional and not self.regional[name].is_in(region)]

    @property
    def is_regional(self) -> bool:
        """Tell whether regions differ in the custom fields or tags of the kind."""
        return bool(self.regional or self.tags)

    def required_in(self, region: str) -> tuple[str, ...]:
        """Return the fields that a record of this region cannot be without."""
        custom = (self.custom or {}).values()
        return (*self.required, *(one.name for one in custom if one.required and one.is_in(region)))

    def tags_of(self, region: str) -> tuple[str, ...] | None:
        """Return the tags that records of this region may carry, None: any."""
        lists = [self.tags[path] for path in ancestors(region) if path in self.tags] if self.tags else []
        return tuple(dict.fromkeys(tag for one in lists for tag in one)) if lists else None


def declare(
    name: str,
    zh: str,
    en: str,
    *fields: Field,
    strong: tuple[str, ...] = (),
    match: tuple[str, ...] = (),
    cores: tuple[str, ...] = (),
) -> Kind:
    """Return a kind with these fields; ``strong``, ``match``, ``cores``: the names of its key fields."""
    return Kind(name, zh, en, MappingProxyType({field.name: field for field in fields}), strong, match, cores)
