"""Custom fields: ``fields/<kind>.yaml`` says what stands under ``custom.<name>`` of a kind, and which tags its regions use.

A kind with such a file takes the fields it declares and no others; a kind without one takes any name with any JSON value
(:mod:`hub.model.kind` says why). Written::

    kind: customer
    fields:
      service_hall:
        type: choice
        label: {zh: 服务网点, en: Service hall}
        options:
          futian: {zh: 福田, en: Futian}
          nanshan: {zh: 南山, en: Nanshan}
        personal: false
        regions: [cn/south]
    tags:
      cn/south: [VIP, 本地化]
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from types import MappingProxyType
from typing import Final

from hub.mapping.problems import Problem, YamlInvalid
from hub.mapping.strict_yaml import load_yaml
from hub.model.fields import Field
from hub.model.kind import CUSTOM, TAGS
from hub.model.kinds import KINDS, Kind
from hub.model.names import nearest
from hub.model.region import is_within
from hub.project.folder import Folder
from hub.project.section import Section

__all__ = ["EVERYWHERE", "FIELD", "FIELDS", "TYPES", "field_files", "read_fields"]

FIELDS: Final = "fields"
"""The folder of the files, below that of the project."""
FIELD: Final = "field"
"""The kind of text that such a file is: it becomes a revision of its own."""
EVERYWHERE: Final = "everywhere"
"""The key under which tags stand that every region uses."""

TYPES: Final = (
    "choice", "date", "decimal", "email", "flag", "instant", "integer", "json", "money", "phone", "phones", "text", "texts",
)  # fmt: skip
"""The types of the model that a custom field may have. What records are recognised and found by (company, credit_code,
reference) and the currency of amounts are built-in fields alone: they are keys of the store."""
_MEANT: Final[Mapping[str, str]] = {
    "amount": "money", "bool": "flag", "boolean": "flag", "datetime": "instant", "float": "decimal", "int": "integer",
    "list": "texts", "number": "decimal", "option": "choice", "options": "texts", "select": "choice", "string": "text",
}  # fmt: skip
"""What other systems call our types."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,59}", re.ASCII)
_WITH_OPTIONS: Final = ("choice", "texts")
_WITH_LENGTH: Final = ("text", "texts")
_MOST: Final = 200
_LONGEST: Final = 4000
_LONGEST_LABEL: Final = 100
_DEFAULT_LENGTH: Final = 500


def field_files(folder: Folder) -> dict[str, str | None]:
    """Return name -> file below the root of every field file, None for one that is in force and has no file."""
    written = folder.files(FIELDS, "*.yaml")
    found: dict[str, str | None] = {PurePath(file).stem: file for file in written}
    return found | {name: None for kind, name in folder.in_force if kind == FIELD and name not in found}


def read_fields(folder: Folder, regions: Sequence[str]) -> dict[str, Kind]:
    """Return every kind by name, those with a file with the fields and tags it declares.

    Args:
        folder: the project's texts; problems join its own.
        regions: the region tree, in stored form.
    """
    kinds = dict(KINDS)
    for name, file in field_files(folder).items():
        taken = folder.take(FIELD, name, file)
        if taken is None:
            continue
        if name not in KINDS:
            message = f"there is no kind {name!r}: a field file is named for one of {', '.join(KINDS)}"
            folder.problems.append(Problem(taken.place, 1, 1, "", message, nearest(name, KINDS)))
            continue
        try:
            document = load_yaml(taken.text, file=taken.place)
        except YamlInvalid as error:
            folder.problems += error.problems
            continue
        kinds[name] = _kind(KINDS[name], Section(document, (), folder.problems), regions)
    return kinds


def _kind(kind: Kind, top: Section, regions: Sequence[str]) -> Kind:
    stated = top.text("kind", required=True)
    if stated is not None and stated != kind.name:
        top.problem("kind", f"{stated!r}: the file's name says {kind.name}", known=(kind.name,), named=stated)
    has_fields = top.has("fields")
    fields = [_field(name, one, kind, regions) for name, one in top.each("fields")]
    if len(fields) > _MOST:
        top.problem("fields", f"more than {_MOST} custom fields")
    tags = _tags(top, kind, regions)
    top.close()
    custom = MappingProxyType({one.name: one for one in fields}) if has_fields else None
    return replace(kind, custom=custom, tags=MappingProxyType(tags))


def _field(name: str, section: Section, kind: Kind, regions: Collection[str]) -> Field:
    if not _NAME.fullmatch(name):
        section.problem(
            None, "a name is lower-case letters, digits and _, begins with a letter and has at most 60"
        )
    type_ = _type(section)
    zh, en = _label(section, name)
    options = _options(section, type_)
    if not section.has("personal"):
        section.problem(
            None, "personal is missing: true if the field says something about a person, else false"
        )
    personal = section.flag("personal", default=True)
    length = section.integer("max_length", _DEFAULT_LENGTH, low=1, high=_LONGEST)
    if section.has("max_length") and type_ not in _WITH_LENGTH:
        section.problem("max_length", f"only a field of type {' or '.join(_WITH_LENGTH)} has one")
    found = Field(
        name=f"{CUSTOM}{name}",
        type=type_,
        zh=zh,
        en=en,
        required=section.flag("required"),
        personal=personal,
        choices=tuple(options),
        max_length=length,
        currency_field="currency" if type_ == "money" and "currency" in kind.fields else None,
        labels=tuple(options.values()),
        regions=_regions(section, regions),
    )
    section.close()
    return found


def _type(section: Section) -> str:
    stated = section.text("type", required=True)
    if stated is None or stated in TYPES:
        return stated or "json"
    meant = _MEANT.get(stated)
    hint = f"; that is {meant} here" if meant else ""
    known = () if meant else TYPES
    section.problem("type", f"{stated!r} is not one of {', '.join(TYPES)}{hint}", known=known, named=stated)
    return "json"


def _label(section: Section, name: str) -> tuple[str, str]:
    """Return what people call it in Chinese and in English; both are asked for: forms and the API show them."""
    label = section.section("label")
    texts = [label.text(language, required=True) or name for language in ("zh", "en")]
    for language, said in zip(("zh", "en"), texts, strict=True):
        if len(said) > _LONGEST_LABEL or not said.isprintable():
            label.problem(language, f"at most {_LONGEST_LABEL} printable characters")
    label.close()
    return texts[0], texts[1]


def _options(section: Section, type_: str) -> dict[str, tuple[str, str]]:
    found = {}
    for name, one in section.each("options"):
        if not name or len(name) > _LONGEST_LABEL or not name.isprintable():
            one.problem(None, f"an option has 1 to {_LONGEST_LABEL} printable characters")
        zh, en = one.text("zh", required=True), one.text("en", required=True)
        one.close()
        found[name] = (zh or name, en or name)
    if found and type_ not in _WITH_OPTIONS:
        section.problem("options", f"only a field of type {' or '.join(_WITH_OPTIONS)} has options")
    if type_ == "choice" and not found:
        section.problem(None, "options is missing: a choice is one of them")
    if len(found) > _MOST:
        section.problem("options", f"more than {_MOST} options")
    return found


def _regions(section: Section, known: Collection[str]) -> tuple[str, ...]:
    """Return the roots of the subtrees that have the field; a file without the key means everywhere."""
    if not section.has("regions"):
        return ()
    if section.texts("regions") == []:
        section.problem("regions", "names no region; without the key the field exists everywhere")
    found = section.regions("regions", known)
    for path in found:
        wider = next((root for root in found if root != path and is_within(path, root)), None)
        if wider is not None:
            section.problem("regions", f"{path!r} lies in {wider!r} already")
        elif found.count(path) > 1:
            section.problem("regions", f"{path!r} is there twice")
            break
    return found


def _tags(top: Section, kind: Kind, regions: Collection[str]) -> dict[str, tuple[str, ...]]:
    section = top.section("tags")
    found: dict[str, tuple[str, ...]] = {}
    for name in section.names():
        listed = tuple(section.texts(name) or ())
        path = "" if name == EVERYWHERE else f"{name.removesuffix('/')}/"
        if path not in regions:
            known = [EVERYWHERE, *(one.removesuffix("/") for one in regions if one)]
            section.problem(name, f"there is no region {name!r} in the tree", known=known, named=name)
        for tag in listed:
            if len(tag) > _LONGEST_LABEL or not tag.isprintable():
                section.problem(name, f"a tag has at most {_LONGEST_LABEL} printable characters")
        found[path] = listed
    if found and TAGS not in kind.fields:
        top.problem("tags", f"a {kind.name} has no tags")
    return found
