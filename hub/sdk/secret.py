"""Secrets as a connector sees them; the type lives below the SDK so that vault and log share it."""

from __future__ import annotations

from hub.secret import MASK, Redactor, Secret, redact

__all__ = ["MASK", "Redactor", "Secret", "redact"]
