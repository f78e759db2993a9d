"""Calls to one internal app of one corp: one token for both API families, every answer classified.

The new API takes the token in a header, the old one in the query; the value is the same (fact sheet 0, 1). Each API is
asked at most ``qps`` times a second by this process, and left alone for a while after it said that this was too much.
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from connectors.dingtalk.outcomes import EXPIRED, NO_JSON_403, Reply, bad_answer, decode, error_of
from hub.sdk import SECOND, Answer, Cause, ConnectionDown, Secret, Slots, Toolbox, TryAgain
from hub.sdk.http import TokenSource

__all__ = ["DingTalkClient", "next_month"]

TOKEN = "v1.0/oauth2/accessToken"  # noqa: S105 - an address
EARLY = 600.0
"""Seconds before its end a token is renewed (1)."""
READ_TIMEOUT, WRITE_TIMEOUT = 30.0, 60.0
PAGE_BYTES = 8 << 20
FEW = 3
"""How often in a row a 403 without a code is a matter of waiting; then of settings (7)."""
BEIJING = datetime.timezone(datetime.timedelta(hours=8))


def next_month(now: int) -> float:
    """Return the seconds until the month's quota rolls over, in Beijing. ``now``: µs."""
    at = datetime.datetime.fromtimestamp(now / SECOND, BEIJING)
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + datetime.timedelta(days=32)).replace(day=1)
    return (following - at).total_seconds()


class DingTalkClient:
    """The app of one connection; safe for concurrent use in one event loop. Raises RemoteError leaves only."""

    def __init__(self, settings: Mapping[str, Any], tools: Toolbox) -> None:
        """Take checked settings."""
        self._tools, self._settings = tools, settings
        self._new, self._old = (settings[name].rstrip("/") + "/" for name in ("base_url", "old_url"))
        self.host = urlsplit(self._new).hostname or ""
        self._tokens = TokenSource(self._fetch, clock=tools.clock, early=EARLY, shared=tools.token)
        self.slots = Slots(settings["slots"])
        self._recent: dict[str, deque[float]] = {}
        self._blocked: dict[str, float] = {}
        self._nameless = 0

    async def get(self, api: str, **query: str | int) -> dict[str, Any]:
        """Make one reading GET call of the new API, such as ``workflow/processInstances``."""
        return await self._call("GET", f"v1.0/{api}", query, None, read=True, deadline=None)

    async def look(self, api: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make one POST call of the new API that changes nothing."""
        return await self._call("POST", f"v1.0/{api}", {}, body, read=True, deadline=None)

    async def write(self, api: str, body: Mapping[str, Any], *, deadline: float) -> dict[str, Any]:
        """Make one changing call of the new API; nothing is sent after ``deadline`` (clock.monotonic() seconds)."""
        return await self._call("POST", f"v1.0/{api}", {}, body, read=False, deadline=deadline)

    async def old(self, api: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make one reading call of the old API: POST with a body, GET without."""
        return await self._call("GET" if body is None else "POST", api, {}, body, read=True, deadline=None)

    async def old_write(self, api: str, body: Mapping[str, Any], *, deadline: float) -> dict[str, Any]:
        """Make one changing call of the old API."""
        return await self._call("POST", api, {}, body, read=False, deadline=deadline)

    async def open_stream(self, subscriptions: list[dict[str, str]]) -> tuple[str, str]:
        """Return address and ticket of a Stream connection; the ticket is good once, for 90 s (6.2)."""
        body = {
            "clientId": self._settings["app_key"], "clientSecret": self._settings["app_secret"].reveal(),
            "subscriptions": subscriptions, "ua": "integration-hub", "localIp": "127.0.0.1",
        }  # fmt: skip
        reply = await self._exchange("POST", "v1.0/gateway/connections/open", {}, body, read=True)
        self._judge(reply, "gateway/connections/open", read=True)
        endpoint, ticket = (reply.body.get(name) for name in ("endpoint", "ticket"))
        if not isinstance(endpoint, str) or not isinstance(ticket, str) or not ticket:
            raise bad_answer("gateway/connections/open answered no endpoint with a ticket", read=True)
        return f"{endpoint}?ticket={quote(ticket, safe='')}", ticket

    async def reach(self) -> None:
        """See that both hosts answer as DingTalk does; no credential is shown to them."""
        for method, url in (("POST", f"{self._new}{TOKEN}"), ("GET", f"{self._old}gettoken")):
            answer = await self._tools.http.request(method, url, read_only=True, timeout=READ_TIMEOUT)
            decode(answer, read=True)  # Missingbody, 40089 or another code: it is there

    async def sign_in(self) -> None:
        """Ask for a token now. Raises ConnectionDown (``credential``)."""
        await self._fetch()

    # ------------------------------------------------------------------------------------------ inside

    async def _call(
        self,
        method: str,
        api: str,
        query: Mapping[str, str | int],
        body: Mapping[str, Any] | None,
        *,
        read: bool,
        deadline: float | None,
    ) -> dict[str, Any]:
        failed: int | None = None
        async with self.slots:
            await self._pace(api)
            while True:
                token = await self._tokens.token(failed=failed)
                value = token.value.reveal()
                asked = query if api.startswith("v1.0/") else {"access_token": value, **query}
                header = {"x-acs-dingtalk-access-token": value} if api.startswith("v1.0/") else {}
                reply = await self._exchange(
                    method, api, asked, body, read=read, deadline=deadline, headers=header
                )
                if reply.code not in EXPIRED or failed is not None:
                    break
                failed = token.version
        self._judge(reply, api.removeprefix("v1.0/"), read=read)
        return reply.body

    def _judge(self, reply: Reply, api: str, *, read: bool) -> None:
        """Raise what a refusal means."""
        self._nameless = self._nameless + 1 if reply.code == NO_JSON_403 else 0
        if not reply.code:
            return
        error = error_of(reply, api, read=read, until=next_month(self._tools.clock.now()))
        if self._nameless > FEW:
            message = f"{error}; again and again: see the network, a proxy in front, and the app's IP list"
            raise ConnectionDown(message, cause=Cause.SETTINGS, vendor="dingtalk", code=reply.code)
        if isinstance(error, TryAgain) and error.cause is Cause.RATE:
            self._blocked[api] = self._tools.clock.monotonic() + (error.after or 1.0)
        raise error

    async def _pace(self, api: str) -> None:
        """Wait until this API may be asked again: ``qps`` calls in any second.

        Raises:
            TryAgain: DingTalk said that it is asked too often; nothing was sent.
        """
        clock, name = self._tools.clock, api.removeprefix("v1.0/")
        left = self._blocked.get(name, 0.0) - clock.monotonic()
        if left > 0:
            raise TryAgain(
                f"{name} was refused as too frequent; nothing was sent", cause=Cause.RATE, after=left
            )
        recent = self._recent.setdefault(name, deque(maxlen=self._settings["qps"]))
        while len(recent) == recent.maxlen and (wait := recent[0] + 1.05 - clock.monotonic()) > 0:
            await clock.sleep(wait)
        recent.append(clock.monotonic())

    async def _fetch(self) -> tuple[Secret, float | None]:
        body = {"appKey": self._settings["app_key"], "appSecret": self._settings["app_secret"].reveal()}
        if self._settings["corp_id_in_token"]:
            body["corpId"] = self._settings["corp_id"]
        reply = await self._exchange("POST", TOKEN, {}, body, read=True)
        if reply.code:
            raise error_of(reply, "oauth2/accessToken", read=True)
        value, life = reply.body.get("accessToken"), reply.body.get("expireIn")
        if not isinstance(value, str) or not value or not value.isascii() or len(value) > 512:
            raise bad_answer("oauth2/accessToken answered no usable accessToken", read=True)
        return Secret(value), float(life) if isinstance(life, int | str) and str(life).isdigit() else None

    async def _exchange(
        self,
        method: str,
        api: str,
        query: Mapping[str, str | int],
        body: Mapping[str, Any] | None,
        *,
        read: bool,
        deadline: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        url = (self._new if api.startswith("v1.0/") else self._old) + api
        given = {"Accept": "application/json", **(headers or {})}
        content = b""
        if body is not None:
            content, given["Content-Type"] = orjson.dumps(body), "application/json"
        answer: Answer = await self._tools.http.request(
            method,
            f"{url}?{urlencode(query, quote_via=quote)}" if query else url,
            content=content,
            headers=given,
            deadline=deadline,
            timeout=READ_TIMEOUT if read else WRITE_TIMEOUT,
            read_only=read,
            max_bytes=PAGE_BYTES if read else None,
        )
        return decode(answer, read=read)
