"""The command line: ``hub``. One file a command group; what they share is in ``command``, ``session`` and ``screen``."""

from __future__ import annotations

__all__: list[str] = []
