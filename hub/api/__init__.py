"""The HTTP side for other systems: records by external id, reads, health, OpenAPI."""

from __future__ import annotations

from hub.api.app import create_app
from hub.api.services import Services

__all__ = ["Services", "create_app"]
