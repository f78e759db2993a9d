"""What the cases beside a mapping prove: fields they fill, regions they use, outcomes of ``when`` that they touch.

Only cases that passed count. A field of an overlay of ``regions`` counts for itself: the rule that holds everywhere may be
filled while the one of the region never is. Nothing, an empty text and an empty list fill no field; 0 and false do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hub.mapping.cases import TestOutcome
from hub.mapping.draft import Draft, Part, Rule, read_draft
from hub.mapping.outcome import Mapped
from hub.mapping.strict_yaml import load_yaml
from hub.model.record import MISSING
from hub.model.region import ancestors

__all__ = ["Coverage", "coverage_of"]

_EVERYWHERE: Final = ""
_WHEN: Final = {True: "inside", False: "outside"}


@dataclass(frozen=True, slots=True)
class Coverage:
    """``fields``: how many fields the mapping gives, a cell of a row each. ``never_filled``: their names, in the file's order.

    ``unused_regions``: overlays that no case inside ``when`` comes from. ``untouched_when``: ``inside`` and ``outside``, of
    a mapping that has ``when``.
    """

    fields: int
    never_filled: tuple[str, ...]
    unused_regions: tuple[str, ...]
    untouched_when: tuple[str, ...]

    @property
    def filled(self) -> int:
        """How many fields a case fills."""
        return self.fields - len(self.never_filled)

    def reaches(self, percent: int) -> bool:
        """Tell whether at least this share of the fields is filled, without rounding."""
        return self.filled * 100 >= percent * self.fields


def coverage_of(text: str, outcomes: Sequence[TestOutcome], *, file: str) -> Coverage:
    """Return what the outcomes of a mapping's cases cover; ``text`` is the mapping's, which has been compiled before.

    Raises:
        YamlInvalid: not strict YAML.
        MappingInvalid: not a mapping file at all.
    """
    draft = read_draft(load_yaml(text, file=file))
    passed = [one for one in outcomes if one.passed]
    filled = {
        _title(part, rule, owner)
        for one in passed
        for owner, rule, part in _parts(draft)
        if owner == _owner(draft, rule.name, one.region) and _is_filled(draft, one, rule, part)
    }
    titles = list(dict.fromkeys(_title(part, rule, owner) for owner, rule, part in _parts(draft)))
    used = {path for one in passed if one.inside for path in ancestors(one.region)}
    touched = {one.inside for one in passed}
    return Coverage(
        fields=len(titles),
        never_filled=tuple(title for title in titles if title not in filled),
        unused_regions=tuple(path.removesuffix("/") for path in draft.overlays if path not in used),
        untouched_when=tuple(word for end, word in _WHEN.items() if end not in touched) if draft.when else (),
    )


def _parts(draft: Draft) -> Iterator[tuple[str, Rule, Part]]:
    """Yield every value of the file with the region whose rule it is."""
    placed = [(_EVERYWHERE, draft.rules), *((path, one.rules) for path, one in draft.overlays.items())]
    for owner, rules in placed:
        for rule in rules.values():
            for part in rule.parts:
                yield owner, rule, part


def _owner(draft: Draft, name: str, region: str) -> str:
    """Return the region whose rule holds for records of ``region``: the innermost overlay that has one."""
    paths = [
        path for path in ancestors(region) if path in draft.overlays and name in draft.overlays[path].rules
    ]
    return paths[-1] if paths else _EVERYWHERE


def _title(part: Part, rule: Rule, owner: str) -> str:
    name = part.name if part.row is None else f"{rule.name}[{part.row}].{part.name}"
    return f"{name} ({owner.removesuffix('/')})" if owner else name


def _is_filled(draft: Draft, one: TestOutcome, rule: Rule, part: Part) -> bool:
    if not isinstance(one.outcome, Mapped):
        return False
    found: object = one.outcome.fields
    for step in _place(draft, rule, part):
        if isinstance(step, int):
            found = found[step] if isinstance(found, list) and step < len(found) else MISSING
        else:
            found = found.get(step, MISSING) if isinstance(found, dict) else MISSING
    return found is not MISSING and found is not None and found not in ("", [], {})


def _place(draft: Draft, rule: Rule, part: Part) -> tuple[str | int, ...]:
    """Return the way to the value in the output: a CRM's is flat, a vendor's nested."""
    if draft.direction == "in":
        return (part.name,)
    steps = tuple(part.name.split("."))
    return steps if part.row is None else (*rule.name.split("."), part.row, *steps)
