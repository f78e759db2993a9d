"""What a kind of record is: its fields, the keys it is recognised by, and what a record of it cannot be without."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hub.model import text
from hub.model.fields import Field

__all__ = ["Kind", "declare"]

_KEY_FORMS: Final[Mapping[str, Callable[[str], str]]] = {"company": text.company_key, "text": text.key_text}
"""Per type: stored form → key; other types are stored in their one form."""
_CUSTOM: Final = re.compile(r"custom\.[a-z][a-z0-9_]{0,59}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record.

    ``strong_keys``: fields that identify a record beyond doubt, unique in the store.
    ``match_keys``: fields that only suggest a match; each element of a list is a key.
    ``cores``: companies that are also found by what people call them (key ``<kind>.<field>~core``).
    ``keys``: of all of them, then of the references: field, name of the key, its form, whether it is strong.
    ``required``: the fields that a record cannot be without.
    """

    name: str
    title_zh: str
    title_en: str
    fields: Mapping[str, Field]
    strong_keys: tuple[str, ...] = ()
    match_keys: tuple[str, ...] = ()
    cores: tuple[str, ...] = ()
    keys: tuple[tuple[str, str, Callable[[str], str], bool], ...] = dataclasses.field(init=False)
    required: tuple[str, ...] = dataclasses.field(init=False)

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

    def field(self, name: str) -> Field | None:
        """Return the field of this name; ``custom.<name>`` is a field of any JSON value."""
        if found := self.fields.get(name):
            return found
        return Field(name, "json", name, name) if _CUSTOM.fullmatch(name) else None


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
