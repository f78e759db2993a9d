"""Calls to one app of one WeCom corp: the token in the query, raw UTF-8 JSON, every answer classified.

One client holds the token of one (address, corp, secret); no two apps share one (fact sheet 1). At most ``slots``
calls are under way, and an API that answered 45009 is left alone until its window is over (8).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from connectors.wecom.outcomes import EXPIRED, bad_answer, decode, errcode_of, error_of
from hub.sdk import SECOND, Cause, ConnectionDown, RemoteError, Secret, Slots, Toolbox, TryAgain
from hub.sdk.http import Token, TokenSource

__all__ = ["WeComClient"]

GETTOKEN = "gettoken"
EARLY = 300.0
"""Seconds before its end a token is renewed (1)."""
HOLD = 600.0
"""Seconds a refused secret is not shown to gettoken again: many such calls ban our address for an hour (1)."""
FIRST_BLOCK, LONGEST_BLOCK = 60.0, 3600.0
READ_TIMEOUT = 30.0
WRITE_TIMEOUT = 60.0
PAGE_BYTES = 16 << 20


class WeComClient:
    """The app of one connection; safe for concurrent use in one event loop. Raises RemoteError leaves only."""

    def __init__(self, settings: Mapping[str, Any], tools: Toolbox) -> None:
        """Take checked settings: base_url, corp_id, secret, slots."""
        self._tools = tools
        self._base = settings["base_url"].rstrip("/") + "/cgi-bin/"
        self.host = urlsplit(self._base).hostname or ""
        self._corp_id: str = settings["corp_id"]
        self._secret: Secret = settings["secret"]
        self._tokens = TokenSource(self._gettoken, clock=tools.clock, early=EARLY, shared=tools.token)
        self.slots = Slots(settings["slots"])
        self._blocked: dict[str, tuple[float, float]] = {}
        self._refused: tuple[float, ConnectionDown] | None = None

    async def get(self, api: str, **params: str | int | None) -> dict[str, Any]:
        """Make one reading GET call, such as ``externalcontact/get``, and return its body; errcode 0 is sure."""
        given = {name: value for name, value in params.items() if value not in (None, "")}
        return await self._call("GET", api, given, None, read=True, deadline=None)

    async def look(
        self, api: str, body: Mapping[str, Any], *, deadline: float | None = None
    ) -> dict[str, Any]:
        """Make one POST call that changes nothing."""
        return await self._call("POST", api, {}, body, read=True, deadline=deadline)

    async def write(self, api: str, body: Mapping[str, Any], *, deadline: float) -> dict[str, Any]:
        """Make one changing call; nothing is sent after ``deadline`` (clock.monotonic() seconds)."""
        return await self._call("POST", api, {}, body, read=False, deadline=deadline)

    async def token_digest(self, *, renew: bool = False) -> str:
        """Return a digest of the current token, of a freshly asked one with ``renew``: to compare, not to show."""
        value = (await self._gettoken())[0] if renew else (await self._tokens.token()).value
        return hashlib.sha256(value.reveal().encode()).hexdigest()[:16]

    def now(self) -> int:
        """Return unix seconds by our clock."""
        return self._tools.clock.now() // SECOND

    async def reach(self) -> None:
        """See that the host answers as WeCom does; no credential is shown to it."""
        answer = await self._send("GET", f"{self._base}gettoken", b"", read=True, deadline=None)
        decode(answer, read=True)  # 41002 or another code: it is there

    async def _call(
        self,
        method: str,
        api: str,
        params: Mapping[str, str | int],
        body: Mapping[str, Any] | None,
        *,
        read: bool,
        deadline: float | None,
    ) -> dict[str, Any]:
        content = b"" if body is None else orjson.dumps(body)
        failed: int | None = None
        async with self.slots:
            self._check_block(api)
            while True:
                token = await self._tokens.token(failed=failed)
                url = f"{self._base}{api}?{_query(params, token)}"
                reply = decode(
                    await self._send(method, url, content, read=read, deadline=deadline), read=read
                )
                if errcode_of(reply) not in EXPIRED or failed is not None:
                    break
                failed = token.version
        return self._judged(api, reply, read=read)

    def _judged(self, api: str, reply: dict[str, Any], *, read: bool) -> dict[str, Any]:
        code = errcode_of(reply)
        if code == 0:
            if self._left(api) <= 0:  # an answer to a call made before the block does not end it
                self._blocked.pop(api, None)
            return reply
        raise error_of(reply, api, read=read, after=self._block(api) if code == 45009 else None)

    def _block(self, api: str) -> float:
        """Return for how long an API is left alone; calls that met the limit together block it once."""
        left = self._left(api)
        if left > 0:
            return left
        _, last = self._blocked.get(api, (0.0, FIRST_BLOCK / 2))
        after = min(last * 2, LONGEST_BLOCK)
        self._blocked[api] = (self._tools.clock.monotonic() + after, after)
        return after

    def _left(self, api: str) -> float:
        return self._blocked.get(api, (0.0, 0.0))[0] - self._tools.clock.monotonic()

    def _check_block(self, api: str) -> None:
        left = self._left(api)
        if left > 0:
            raise TryAgain(
                f"{api} is blocked by WeCom for its call frequency (45009); nothing was sent",
                cause=Cause.RATE, after=left, vendor="wecom", code="45009",
            )  # fmt: skip

    async def _gettoken(self) -> tuple[Secret, float | None]:
        if self._refused is not None and self._tools.clock.monotonic() < self._refused[0]:
            raise _copy(self._refused[1])
        self._check_block(GETTOKEN)  # throttled, or our address banned for an hour: asking on makes it longer
        query = urlencode({"corpid": self._corp_id, "corpsecret": self._secret.reveal()}, quote_via=quote)
        answer = await self._send("GET", f"{self._base}gettoken?{query}", b"", read=True, deadline=None)
        reply = decode(answer, read=True)
        if errcode_of(reply) != 0:
            after = self._block(GETTOKEN) if errcode_of(reply) == 45009 else None
            error = error_of(reply, GETTOKEN, read=True, after=after)
            if isinstance(error, ConnectionDown) and error.cause is Cause.CREDENTIAL:
                error.until = HOLD
                self._refused = (self._tools.clock.monotonic() + HOLD, error)
            raise error
        self._blocked.pop(GETTOKEN, None)
        value, life = reply.get("access_token"), reply.get("expires_in")
        if not isinstance(value, str) or not value or not value.isascii() or len(value) > 512:
            raise bad_answer("gettoken answered no usable access_token", read=True)
        seconds = float(life) if isinstance(life, int | str) and str(life).isdigit() else None
        return Secret(value), seconds

    async def _send(
        self, method: str, url: str, content: bytes, *, read: bool, deadline: float | None
    ) -> Any:
        return await self._tools.http.request(
            method,
            url,
            content=content,
            headers={"Content-Type": "application/json"} if content else {},
            deadline=deadline,
            timeout=READ_TIMEOUT if read else WRITE_TIMEOUT,
            read_only=read,
            max_bytes=PAGE_BYTES if read else None,
        )


def _query(params: Mapping[str, str | int], token: Token) -> str:
    return urlencode({"access_token": token.value.reveal(), **params}, quote_via=quote)


def _copy(error: ConnectionDown) -> RemoteError:
    return ConnectionDown(
        f"{error}; not asked again for a while, or WeCom bans our address",
        cause=error.cause, until=HOLD, vendor=error.vendor, code=error.code,
    )  # fmt: skip
