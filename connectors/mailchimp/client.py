"""Calls to one account: the address from the key's data centre, at most so many at a time, every answer classified.

An API key and an OAuth token both ride as Bearer (1): what the vendor's 2026 client does. A key never expires; it dies when
somebody deletes it, and then the connection is down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from connectors.mailchimp.outcomes import KeyRefused, judge
from hub.sdk import Secret, SettingsError, Slots, Toolbox

__all__ = ["MailchimpClient", "base_url_of"]

TIMEOUT = 120.0
"""The vendor's own limit of a call (10)."""
PAGE_BYTES = 32 << 20
_DC = re.compile(r"[a-z]{2,4}\d{1,4}", re.ASCII)


def base_url_of(settings: Mapping[str, Any]) -> str:
    """Return the API's address without a closing slash: the setting, else by the data centre behind the key's last ``-``.

    Raises:
        SettingsError: no setting, and the key names no data centre.
    """
    if settings["base_url"]:
        return str(settings["base_url"]).rstrip("/")
    _, dash, centre = settings["api_key"].reveal().rpartition("-")
    if not dash or not _DC.fullmatch(centre):
        raise SettingsError(
            "is needed: the credential names no data centre (an OAuth token has none); its metadata says api_endpoint, "
            "to which /3.0 is added",
            field="base_url",
        )
    return f"https://{centre}.api.mailchimp.com/3.0"


class MailchimpClient:
    """One account; safe for concurrent use in one event loop. Raises RemoteError leaves only."""

    def __init__(self, settings: Mapping[str, Any], tools: Toolbox) -> None:
        """Take checked settings. Raises SettingsError as `base_url_of`."""
        self._tools = tools
        self._base = base_url_of(settings)
        self._key: Secret = settings["api_key"]
        if not (self._key.reveal().isascii() and self._key.reveal().isprintable()):
            raise SettingsError("holds signs no header can carry", field="api_key")
        self.slots = Slots(settings["slots"])
        self.list_path = f"/lists/{quote(settings['list_id'], safe='')}"

    async def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """Read; ``params``: of the query, in which a ``+`` must be escaped (0)."""
        return await self._call("GET", path, None, params, deadline=None)

    async def send(
        self, method: str, path: str, body: Mapping[str, Any], *, deadline: float, **params: str
    ) -> dict[str, Any]:
        """Make one changing call; nothing is sent after ``deadline`` (clock.monotonic() seconds)."""
        return await self._call(method, path, body, params, deadline=deadline)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, str | int],
        *,
        deadline: float | None,
    ) -> dict[str, Any]:
        query = f"?{urlencode(params, quote_via=quote, safe='')}" if params else ""
        content = b"" if body is None else orjson.dumps(body)
        headers = {"Authorization": f"Bearer {self._key.reveal()}"}
        headers |= {"Content-Type": "application/json; charset=utf-8"} if content else {}
        read = deadline is None
        for last in (False, True):
            async with self.slots:
                answer = await self._tools.http.request(
                    method, f"{self._base}{path}{query}", content=content, headers=headers, deadline=deadline,
                    timeout=TIMEOUT, read_only=read, max_bytes=PAGE_BYTES,
                )  # fmt: skip
            try:
                return judge(answer, read=read)
            except KeyRefused as refused:  # nothing was executed
                if last:
                    raise refused.confirmed() from None
        raise AssertionError("unreachable")
