"""Calls to one tenant: its data centre is looked up, the token rides in the query, every answer is classified.

The addresses are a tenant's own (1.1): they are asked for once and again when nothing answers there. One token per
connection (1.2); a second one may or may not void the first, and both are borne.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from connectors.yonyou.outcomes import BACK_OFF, TokenRefused, bad_answer, code_of, decode, judge
from connectors.yonyou.pace import Pace
from connectors.yonyou.signing import signature
from hub.sdk import (
    SECOND,
    Answer,
    Cause,
    ConnectionDown,
    RemoteError,
    Secret,
    Toolbox,
    TryAgain,
    amount_text,
    classify_status,
)
from hub.sdk.http import TokenSource

__all__ = ["Places", "YonyouClient"]

DIRECTORY = "/open-auth/dataCenter/getGatewayAddress"
TOKEN = "/open-auth/selfAppAuth/base/v1/getAccessToken"  # noqa: S105 - a path
READ_TIMEOUT = 60.0
WRITE_TIMEOUT = 120.0
"""Saves take long (6.30); the hub's own deadline bounds when they begin."""
PAGE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Places:
    """Where a tenant's data centre answers, without a closing slash."""

    gateway: str
    token: str


class YonyouClient:
    """The self-built app of one tenant; safe for concurrent use in one event loop. Raises RemoteError leaves only."""

    def __init__(self, settings: Mapping[str, Any], tools: Toolbox) -> None:
        """Take checked settings."""
        self._tools = tools
        self._directory = settings["directory_url"].rstrip("/")
        self._tenant: str = settings["tenant_id"]
        self._app_key: str = settings["app_key"]
        self._secret: Secret = settings["app_secret"]
        self._in_header = settings["token_in"] == "header"  # noqa: S105 - a place
        self._pace = Pace(tools.clock, settings["per_minute"])
        self._places: Places | None = None
        self._asking = asyncio.Lock()
        self._tokens = TokenSource(self._ask_token, clock=tools.clock, shared=tools.token)

    async def read(self, path: str, body: Any = None, **params: str) -> dict[str, Any]:
        """Make one call that changes nothing, a POST with a body and a GET without; return the whole answer."""
        return await self._call(path, body, params, read=True, deadline=None)

    async def write(self, path: str, body: Any, *, deadline: float) -> dict[str, Any]:
        """Make one changing call; nothing is sent after ``deadline`` (clock.monotonic() seconds)."""
        return await self._call(path, body, {}, read=False, deadline=deadline)

    async def places(self) -> Places:
        """Return the tenant's addresses, asking for them if they are not known (1.1)."""
        async with self._asking:
            if self._places is None:
                self._places = await self._look_up()
            return self._places

    async def ask_token(self, *, at: int | None = None) -> str:
        """Ask for a token that nobody else uses. ``at``: ms since the epoch to sign with; None: now."""
        return (await self._fetch_token(at))[0]

    async def read_with(self, token: str, path: str, body: Any, *, in_header: bool) -> dict[str, Any]:
        """Make one reading call with a given token, renewed by nobody."""
        places = await self.places()
        await self._pace.turn(path, read=True)
        return judge(await self._send(places, token, path, body, {}, None, in_header=in_header), read=True)

    async def _call(
        self, path: str, body: Any, params: Mapping[str, str], *, read: bool, deadline: float | None
    ) -> dict[str, Any]:
        failed: int | None = None
        while True:
            await self._pace.turn(path, read=read)
            places = await self.places()
            token = await self._tokens.token(failed=failed)
            value = token.value.reveal()
            try:
                answer = await self._send(
                    places, value, path, body, params, deadline, in_header=self._in_header
                )
                return judge(answer, read=read)
            except TokenRefused as refused:
                if failed is not None:
                    self._places = None  # the tenant may have moved: a token of one centre is none in another
                    raise refused.confirmed() from None
                failed = token.version
            except RemoteError as error:
                if error.cause is Cause.UNREACHABLE:
                    self._places = None
                if isinstance(error, TryAgain) and error.cause is Cause.RATE:
                    self._pace.block(path, error.after or BACK_OFF)
                raise

    async def _send(
        self,
        places: Places,
        token: str,
        path: str,
        body: Any,
        params: Mapping[str, str],
        deadline: float | None,
        *,
        in_header: bool,
    ) -> Answer:
        query = dict(params) if in_header else {"access_token": token, **params}
        content = b"" if body is None else orjson.dumps(body, default=_digits)
        headers = {"Content-Type": "application/json;charset=UTF-8"} if content else {}
        return await self._tools.http.request(
            "POST" if content else "GET",
            f"{places.gateway}{path}" + (f"?{urlencode(query, quote_via=quote, safe='')}" if query else ""),
            content=content,
            headers=headers | ({"access_token": token} if in_header else {}),
            deadline=deadline,
            timeout=READ_TIMEOUT if deadline is None else WRITE_TIMEOUT,
            read_only=deadline is None,
            max_bytes=PAGE_BYTES if deadline is None else None,
        )

    async def _look_up(self) -> Places:
        answer = await self._get(f"{self._directory}{DIRECTORY}?{urlencode({'tenantId': self._tenant})}")
        body = decode(answer, read=True)
        if code_of(body) != "00000":
            message = f"no data centre for tenant_id: {str(body.get('message') or '')[:200]}"
            raise ConnectionDown(message, cause=Cause.SETTINGS, vendor="yonyou", code=code_of(body))
        data = body.get("data")
        found = [data.get(name) if isinstance(data, dict) else None for name in ("gatewayUrl", "tokenUrl")]
        if not all(isinstance(one, str) and urlsplit(one).hostname for one in found):
            raise bad_answer("the data-centre look-up named no addresses", read=True)
        return Places(*(str(one).rstrip("/") for one in found))

    async def _ask_token(self) -> tuple[Secret, float | None]:
        value, life = await self._fetch_token(None)
        return Secret(value), life

    async def _fetch_token(self, at: int | None) -> tuple[str, float | None]:
        places = await self.places()
        millis = self._tools.clock.now() * 1000 // SECOND if at is None else at
        asked = {"appKey": self._app_key, "timestamp": str(millis)}
        query = asked | {"signature": signature(self._secret.reveal(), asked)}
        try:
            answer = await self._get(f"{places.token}{TOKEN}?{urlencode(query, quote_via=quote, safe='')}")
        except RemoteError as error:
            if error.cause is Cause.UNREACHABLE:
                self._places = None
            raise
        try:
            body = judge(answer, read=True, ok="00000")
        except RemoteError as error:
            self._places = None  # the tenant may have moved: then the next call asks where to
            raise _token_error(error) from None
        data = body.get("data")
        value = data.get("access_token") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(value, str) or not value:
            raise bad_answer("the token answer holds no access_token", read=True)
        if not (value.isascii() and value.isprintable()):
            raise bad_answer("the access_token holds signs no address can carry", read=True)
        life = str(data.get("expire"))
        return value, float(life) if life.isascii() and life.isdigit() else None

    async def _get(self, url: str) -> Answer:
        answer = await self._tools.http.request("GET", url, read_only=True, timeout=READ_TIMEOUT)
        classify_status(answer, read_only=True)
        return answer


def _digits(value: object) -> orjson.Fragment:
    """Write a decimal digit by digit: never through a float."""
    if not isinstance(value, Decimal):
        raise TypeError(type(value).__name__)
    return orjson.Fragment(amount_text(value).encode())


def _token_error(error: RemoteError) -> RemoteError:
    """Return what a refused request for a token means: the codes of a wrong signature or clock are UNCONFIRMED (1.2)."""
    said = str(error)
    if isinstance(error, TokenRefused):
        return error.confirmed()
    if "签名" in said:
        return ConnectionDown(said, cause=Cause.CREDENTIAL, vendor="yonyou", code=error.code)
    if "时间" in said or "timestamp" in said.lower():
        why = f"{said}; compare this machine's clock with the real time"
        return ConnectionDown(why, cause=Cause.SETTINGS, vendor="yonyou", code=error.code, until=60.0)
    if isinstance(error, TryAgain | ConnectionDown):
        return error
    return TryAgain(said, cause=Cause.BAD_ANSWER, vendor="yonyou", code=error.code)
