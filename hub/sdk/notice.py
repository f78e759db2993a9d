"""What people are told by a work notice of a system they have on their phones, and what that system said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MOST_BYTES", "Notice", "Told"]

MOST_BYTES = 1_500
"""UTF-8 bytes of a notice's text that every connector can send: 2,048 for all of a message at DingTalk and WeCom."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice in plain text.

    ``reference``: ours, different for every notice and the same in every repeat of one; it stands in the content, for
    vendors drop what one person was sent before: a repeat is dropped, another notice of the same words is not.
    """

    title: str
    text: str
    reference: str

    @property
    def content(self) -> str:
        """The whole text, title first: phones show the first line."""
        return f"{self.title}\n\n{self.text}\n\n[{self.reference}]"


@dataclass(frozen=True, slots=True)
class Told:
    """What the vendor answered. ``receipts``: its ids of the message; ``missed``: user id -> why it did not get there.

    ``already``: users who had this very notice before: a repeat that was dropped.
    """

    receipts: tuple[str, ...]
    missed: Mapping[str, str] = field(default_factory=dict)
    already: frozenset[str] = frozenset()
