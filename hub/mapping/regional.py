"""Custom fields that exist in some regions only: a rule may write one where the records of its region have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hub.mapping.draft import Draft
from hub.mapping.problems import Problem
from hub.model.kind import Kind

__all__ = ["misplaced_rules"]

_BASE: Final = ""


def misplaced_rules(draft: Draft, kind: Kind) -> Iterator[Problem]:
    """Yield a problem for every rule whose region does not have the field; rules outside ``regions`` hold everywhere."""
    placed = [(_BASE, draft.rules), *((region, one.rules) for region, one in draft.overlays.items())]
    for region, rules in placed:
        for name, rule in rules.items():
            field = kind.regional.get(name)
            if field is None or field.is_in(region):
                continue
            where = ", ".join(root.removesuffix("/") for root in field.regions)
            here = f"not in {region.removesuffix('/')}" if region else "not everywhere"
            message = f"exists only in {where}, {here}: write it under regions: {{{field.regions[0].removesuffix('/')}: {{fields: …}}}}"
            yield draft.document.problem(rule.path, message, at_key=True)
