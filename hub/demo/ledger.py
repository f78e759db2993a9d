"""The judge: what took effect at the vendors beside what a person wrote down, nothing more and nothing less.

The file names every ledger, in it every object by form and title, and for each its effects in order: who, what, and every
business field that this effect changed. A text ``<X>`` stands for an id that a machine makes: the same name is always the
same id, another name another one. ``guest<01..50>`` stands for fifty objects; the number is the same in all their values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hub.demo.ledgers import LEDGERS, Ledger
from hub.errors import SettingsError
from hub.mapping import YamlInvalid, load_yaml
from hub.mapping.strict_yaml import Document
from hub.sdk.sandbox import Effect

__all__ = ["LEDGERS", "Expected", "Ledger", "Line", "differences", "expected"]

_LARGEST: Final = 512 * 1024
_MADE: Final = re.compile(r"<[A-Z][A-Z0-9-]*>")
_NAMES: Final = re.compile(r"[^.\[\]]+")
_MANY: Final = re.compile(r"<([0-9]+)\.\.([0-9]+)>")

Change = dict[str, str]
"""Field → value that an effect left there; a row's field is ``FRECEIVEBILLENTRY[0].FCOMMENT``, a list's ``tag_ids[0]``."""


@dataclass(frozen=True, slots=True)
class Line:
    """One effect: ``api create`` and what it changed."""

    what: str
    change: Change


Expected = Mapping[tuple[str, str], tuple[Line, ...]]
"""(form, title) → effects in order."""


def expected(file: Path) -> dict[str, Expected]:
    """Read an expectation: ledger → what it must hold.

    Raises:
        SettingsError: it cannot be read, or is not as the module says; with line.
    """
    try:
        document = load_yaml(file.read_bytes()[:_LARGEST].decode("utf-8"), file=str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot be read: {error}", file=str(file)) from None
    except YamlInvalid as error:
        first = error.problems[0]
        raise SettingsError(first.message, file=str(file), line=first.line) from None
    names = _places(document, dict)
    if sorted(names) != sorted(LEDGERS):
        raise SettingsError(f"the ledgers {', '.join(sorted(LEDGERS))} are expected", file=str(file))
    return {name: _ledger(document, name) for name in names}


def _ledger(document: Document, ledger: str) -> Expected:
    found: dict[tuple[str, str], tuple[Line, ...]] = {}
    for form in _places(document, dict, ledger):
        for title in _places(document, dict, ledger, form):
            places = _places(document, list, ledger, form, title)
            lines = tuple(_line(document, ledger, form, title, place) for place in places)
            for one, its in _each(title, lines):
                if (form, one) in found:
                    mark = document.mark((ledger, form, title))
                    raise SettingsError(f"{one} stands there twice", file=document.file, line=mark.line)
                found[form, one] = its
    return found


def _each(title: str, lines: tuple[Line, ...]) -> Iterator[tuple[str, tuple[Line, ...]]]:
    """Yield the object that a title names, or every one of those that ``<01..50>`` in it stands for."""
    many = _MANY.search(title)
    if many is None:
        yield title, lines
        return
    for number in range(int(many[1]), int(many[2]) + 1):
        text = str(number).zfill(len(many[1]))
        yield (
            title.replace(many[0], text),
            tuple(
                Line(line.what, {name: value.replace(many[0], text) for name, value in line.change.items()})
                for line in lines
            ),
        )


def _at(document: Document, path: Sequence[Any]) -> Any:
    value: Any = document.value
    for part in path:
        value = value[part]
    return value


def _places(document: Document, kind: type[dict[Any, Any] | list[Any]], *path: str | int) -> list[Any]:
    """Return the keys or positions of what stands at ``path``, which must be of a kind and not empty."""
    value = _at(document, path)
    if not isinstance(value, kind) or not value:
        what = "a list of effects" if kind is list else "names and what belongs to them"
        raise SettingsError(f"{what} is expected", file=document.file, line=document.mark(path).line)
    return list(value) if isinstance(value, dict) else list(range(len(value)))


def _line(document: Document, *path: str | int) -> Line:
    what = _places(document, dict, *path)
    change = _at(document, (*path, what[0]))
    if len(what) != 1 or not isinstance(change, dict):
        message = "one effect is expected: {who verb: {field: value}}"
        raise SettingsError(message, file=document.file, line=document.mark(path).line)
    return Line(what[0], dict(_flat(change)))


def differences(ledger: Ledger, wanted: Expected, effects: Iterable[Effect]) -> list[str]:
    """Return every difference as a sentence, an empty list when there is none."""
    found = _objects(ledger, effects)
    made = _Made(ledger.made)
    problems = []
    for key in {
        **wanted,
        **found,
    }:  # in the order of the file, so that an id is first seen where it was made
        form, title = key
        actual, hoped = found.get(key, []), wanted.get(key)
        if hoped is None:
            problems.append(
                f"{form} {title}: {len(actual)} object(s) that nobody expects: {_shown(actual[0])}"
            )
        elif len(actual) != 1:
            problems.append(f"{form} {title}: {len(actual)} objects instead of 1")
        else:
            problems += (f"{form} {title}: {text}" for text in _compared(hoped, actual[0], made))
    return problems


def _objects(ledger: Ledger, effects: Iterable[Effect]) -> dict[tuple[str, str], list[list[Line]]]:
    """Return (form, title at first) → the objects of that title → their effects."""
    titles: dict[tuple[str, object], tuple[str, str]] = {}
    states: dict[tuple[str, object], Change] = {}
    found: dict[tuple[str, str], dict[object, list[Line]]] = {}
    for effect in effects:
        key = (effect.form, effect.id)
        fields = _flat(ledger.shown(effect))
        state = {name: value for name, value in fields if not _is_technical(name, ledger)}
        before = states.get(key, {})
        states[key] = state
        title = titles.setdefault(key, (effect.form, ledger.title(effect)))
        gone = {name: "" for name in before if name not in state}
        change = {name: value for name, value in {**gone, **state}.items() if before.get(name, "") != value}
        found.setdefault(title, {}).setdefault(effect.id, []).append(
            Line(f"{effect.by} {effect.verb}", change)
        )
    return {title: list(objects.values()) for title, objects in found.items()}


def _is_technical(name: str, ledger: Ledger) -> bool:
    """Say whether a field, or what it lies in, is no business value: ``FEntryID`` of ``FRECEIVEBILLENTRY[0].FEntryID``."""
    return not ledger.technical.isdisjoint(_NAMES.findall(name))


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
            continue
        if not isinstance(value, list):
            yield f"{prefix}{name}", _text(value)
            continue
        for place, one in enumerate(value):
            if isinstance(one, Mapping):
                yield from _flat(one, f"{prefix}{name}[{place}].")
            else:
                yield f"{prefix}{name}[{place}]", _text(one)


def _text(value: Any) -> str:
    """Return a value as text; nothing at all and false are the empty text."""
    return "" if value is None or value is False else str(value)


def _compared(wanted: tuple[Line, ...], actual: list[Line], made: _Made) -> Iterator[str]:
    if [step.what for step in wanted] != [step.what for step in actual]:
        yield f"effects are {_shown(actual)} instead of {_shown(wanted)}"
    for place, (hoped, found) in enumerate(zip(wanted, actual, strict=False), start=1):
        for name in sorted({*hoped.change, *found.change}):
            left, right = hoped.change.get(name), found.change.get(name)
            if left is None:
                yield f"effect {place} ({found.what}) also changed {name} to {right!r}"
            elif right is None:
                yield f"effect {place} ({hoped.what}) did not change {name} to {left!r}"
            elif not made.same(left, right):
                yield f"effect {place} ({hoped.what}) set {name} to {right!r} instead of {left!r}"


def _shown(steps: Iterable[Line]) -> str:
    return ", ".join(step.what for step in steps)


@dataclass(slots=True)
class _Made:
    """Ids that a machine made, by the names they have in the file."""

    form: re.Pattern[str]
    ids: dict[str, str] = field(default_factory=dict)

    def same(self, wanted: str, actual: str) -> bool:
        if not _MADE.fullmatch(wanted):
            return wanted == actual
        if wanted not in self.ids and self.form.fullmatch(actual) and actual not in self.ids.values():
            self.ids[wanted] = actual
        return self.ids.get(wanted) == actual
