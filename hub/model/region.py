"""The region path: ``cn/south/shenzhen/``, closed by a slash so that a subtree is one range of bytes."""

from __future__ import annotations

import re

__all__ = ["ancestors", "is_within", "region_path", "subtree_range"]

_SEGMENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_DEEPEST = 10


def region_path(text: str) -> str:
    """Return the stored form of a region path; "" is the root of the tree.

    Raises:
        ValueError: a segment is not lower-case letters, digits, "-" or "_" (40 at most), or the path is deeper than 10.
    """
    trimmed = text.removesuffix("/")
    if not trimmed:
        if text:
            raise ValueError("a region path does not begin with a slash")
        return ""
    segments = trimmed.split("/")
    if len(segments) > _DEEPEST:
        raise ValueError(f"region path {text[:80]!r} is deeper than {_DEEPEST}")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            raise ValueError(f"region path {text[:80]!r}: {segment[:40]!r} is not a region's short name")
    return trimmed + "/"


def is_within(path: str, root: str) -> bool:
    """Tell whether ``path`` is ``root`` or below it; both in stored form."""
    return path.startswith(root)


def subtree_range(root: str) -> tuple[str, str]:
    """Return (low, high) with low <= path < high for exactly the paths of the subtree, compared as bytes.

    The closing slash keeps siblings apart: ``g/s/`` does not hold ``g/sc/``. ``high`` ends in "0", the byte after "/".
    """
    if not root:
        return "", "\U0010ffff"
    return root, root[:-1] + chr(ord("/") + 1)


def ancestors(path: str) -> tuple[str, ...]:
    """Return the paths from the root of the tree down to ``path`` itself."""
    found = [""]
    for index, letter in enumerate(path):
        if letter == "/":
            found.append(path[: index + 1])
    return tuple(found)
