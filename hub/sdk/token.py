"""Access tokens that expire: one refresh in flight per credential, and none in a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hub.clock import Clock
from hub.errors import Cause, ConnectionDown
from hub.sdk.secret import Secret

__all__ = ["Given", "SharedToken", "Token", "TokenSource"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its number; ``expires``: clock.monotonic() seconds, None if the vendor does not say."""

    value: Secret
    version: int
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A token as it was shared: its number, which rises with every renewal, and how long it lives still (s)."""

    value: Secret
    version: int
    life: float | None


Fetch = Callable[[], Awaitable[tuple[Secret, float | None]]]


class SharedToken(Protocol):
    """Where processes that use one credential share its token."""

    async def renewed(self, after: int, fetch: Fetch) -> Given:
        """Return a token that lives and whose version is above ``after``; if there is none, one of all fetches it."""
        ...


class TokenSource:
    """Hands out the current token of one credential and renews it, at most one refresh at a time."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        clock: Clock,
        early: float = 60.0,
        shared: SharedToken | None = None,
    ) -> None:
        """``fetch`` asks the vendor for a token and its life in seconds (None: unknown); it raises RemoteError.

        ``early``: a token with fewer seconds left (or half its life, if that is shorter) is renewed before use.
        ``shared``: where other processes find it (``Toolbox.token``); None: this process keeps it for itself.
        """
        self._fetch = fetch
        self._clock = clock
        self._early = early
        self._shared = shared
        self._current: Token | None = None
        self._renew_at: float | None = None
        self._versions = 0
        self._refresh: asyncio.Task[Token] | None = None

    async def token(self, *, failed: int | None = None) -> Token:
        """Return a token that is not the one of version ``failed``; concurrent callers share one refresh.

        A caller whose version is older than the current one gets the current one: somebody renewed it meanwhile.
        Raises what ``fetch`` raises; the next caller then tries again.
        """
        current = self._current
        stale = self._renew_at is not None and self._clock.monotonic() >= self._renew_at
        if current is not None and current.version != failed and not stale:
            return current
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.ensure_future(self._renew())
        # Shielded: a caller that goes away must not take the others' refresh with it.
        return await asyncio.shield(self._refresh)

    async def using(self, send: Callable[[Token], Awaitable[T]], expired: Callable[[T], bool]) -> T:
        """Send with a token; if the answer says it expired, renew it once and send again.

        ``expired`` must hold only for an answer that proves nothing took effect, for ``send`` is then repeated.
        Raises ConnectionDown (``credential``) if the fresh token is refused too.
        """
        token = await self.token()
        answer = await send(token)
        if not expired(answer):
            return answer
        answer = await send(await self.token(failed=token.version))
        if expired(answer):
            raise ConnectionDown("a token is refused although it was just renewed", cause=Cause.CREDENTIAL)
        return answer

    async def _renew(self) -> Token:
        if self._shared is None:
            value, life = await self._fetch()
            self._versions += 1
        else:
            given = await self._shared.renewed(self._versions, self._fetch)
            value, life, self._versions = given.value, given.life, given.version
        now = self._clock.monotonic()
        self._renew_at = None if life is None else now + life - min(self._early, life / 2)
        self._current = Token(value, self._versions, None if life is None else now + life)
        return self._current
