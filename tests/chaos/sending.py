"""Requests to the hub as a CRM makes them, and the file of intents that is written before each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx

__all__ = ["Sender"]


class Sender:
    """A client of the hub's API; the hub may be dead at any moment."""

    def __init__(self, client: httpx.AsyncClient, intents: Path) -> None:
        self._client = client
        self._intents = intents.open("a")

    def intend(self, **line: Any) -> None:
        """Write an intent or its answer, and make it durable before anything else."""
        self._intents.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._intents.flush()
        os.fsync(self._intents.fileno())

    async def send(self, method: str, path: str, body: dict[str, Any]) -> str | None:
        """Send a record; return ok, held, refused, or None when nobody knows."""
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError:
            return None
        if answer.status_code in (200, 201):
            return "ok"
        if answer.status_code == 202:
            return "held"
        return "refused" if answer.status_code in (404, 409, 412, 422) else None

    async def everything(self, path: str) -> list[dict[str, Any]] | None:
        """Return all records of a kind, None if the hub died in between."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        try:
            while True:
                asked = {"limit": "100", **({"cursor": cursor} if cursor else {})}
                answer = await self._client.get(path, params=asked)
                if answer.status_code != 200:
                    return None
                page = answer.json()
                found += page["items"]
                cursor = page["next_cursor"]
                if cursor is None:
                    return found
        except httpx.HTTPError:
            return None
