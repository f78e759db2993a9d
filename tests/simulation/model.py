"""What the judge believes: every value ever written has a name of its own and remembers what it replaced."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Values"]


@dataclass
class Values:
    """Who descends from whom. A value is a text that nobody else writes; its ancestors are what its author saw."""

    ancestors: dict[str, frozenset[str]] = field(default_factory=dict)

    def new(self, name: str, parent: str | None) -> str:
        """Make a value of a field whose author saw ``parent``."""
        value = f"{name}-{len(self.ancestors)}"
        seen = self.ancestors.get(parent, frozenset()) if parent is not None else frozenset()
        self.ancestors[value] = seen | {parent} if parent is not None else seen
        return value

    def descends(self, value: object, other: object) -> bool:
        """Say whether ``value`` is ``other`` or was made by someone who knew it (nothing at all comes before all)."""
        if other is None or other == value:
            return True
        return isinstance(value, str) and other in self.ancestors.get(value, frozenset())
