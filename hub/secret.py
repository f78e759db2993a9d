"""Secret text as a type, and the mask that keeps it out of everything that is shown.

Below the SDK, so that the vault, the project loader and the log can use it; authors import it as
:mod:`hub.sdk.secret`.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable
from typing import NoReturn
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "Redactor", "Secret", "redact"]

MASK = "***"
"""What is shown instead of a secret."""


class Secret:
    """A text nobody may see by accident: ``str``, ``repr`` and format give ``***``; it cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Take the secret text exactly as it is; TypeError for anything but text (bytes have no one text)."""
        if not isinstance(value, str):
            raise TypeError(f"a secret is text, not {type(value).__name__}")
        self._value = value

    def reveal(self) -> str:
        """Return the text itself, for the one place that must send or hash it."""
        return self._value

    def __str__(self) -> str:
        """Return the mask."""
        return MASK

    def __repr__(self) -> str:
        """Return the mask."""
        return MASK

    def __format__(self, spec: str) -> str:
        """Return the mask, whatever the format asks for."""
        return MASK

    def __eq__(self, other: object) -> bool:
        """Compare in constant time; a secret equals no bare text, so that none is compared by mistake."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_raw(self._value), _raw(other._value))

    def __hash__(self) -> int:
        """Hash the text, so that settings holding secrets can be keys of a dict."""
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        """Refuse pickling and copying out of the process."""
        raise TypeError("a secret is not pickled")


class Redactor:
    """Masks the secrets it knows in any text; safe to extend while in use."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        """Start with these secrets."""
        self._forms: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[Secret]) -> None:
        """Know these secrets too, in plain and in the forms a URL or JSON text gives them."""
        forms = self._forms | {form for secret in secrets for form in _forms(secret.reveal())}
        if forms == self._forms:
            return
        # A look-ahead finds a match at every position, the longest first, so overlapping secrets are seen as well:
        # replacing one after the other would leave the tail of the second in the clear.
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile(f"(?=({'|'.join(map(re.escape, longest_first))}))")
        self._forms = forms

    def __call__(self, text: str) -> str:
        """Return the text with every known secret replaced by ``***``; touching ones become one mask."""
        if self._pattern is None or self._pattern.search(text) is None:
            return text
        parts: list[str] = []
        done = 0
        hidden_to = 0
        for match in self._pattern.finditer(text):
            start, end = match.span(1)
            if start >= hidden_to:
                if start > hidden_to or not parts:
                    parts += (text[done:start], MASK)
                hidden_to = end
            else:
                hidden_to = max(hidden_to, end)
            done = hidden_to
        return "".join((*parts, text[done:]))


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """Return the text with these secrets masked, the longest match first, overlaps included."""
    return Redactor(secrets)(text)


def _forms(value: str) -> set[str]:
    """List how a secret may look in a text: as it is, trimmed, in a URL, inside JSON."""
    encoded = {
        quote(value, safe="", errors="replace"),
        quote_plus(value, errors="replace"),
        quote(value, errors="replace"),
    }
    quoted = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    return {form for form in {value, value.strip(), *encoded, *quoted} if form}


def _raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")
