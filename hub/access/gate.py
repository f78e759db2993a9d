"""The gate before the API and the console: who asks, from where, how often.

While no token was ever made and the listener is one of this machine alone, a caller on this machine is its
administrator: so one begins. A browser that another site sent, or a proxy, is no such caller. From the first token on
everybody needs one.

Limits are counted in this process: with several processes behind one address each allows as many. They keep a
runaway caller from taking the hub's time; a quota shared by processes would cost every request a write.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hub.access.tokens import StoredToken, any_token, is_token, note_use, token_viewer
from hub.access.viewer import Viewer
from hub.clock import Clock
from hub.model.record import Scope
from hub.store.tx import Tx
from hub.vault import Vault

__all__ = ["Caller", "Gate", "Refusal", "Refused", "Shared", "is_closed", "is_loopback"]

_NOTE_SECONDS: Final = 60.0
_TRIES, _TRIES_PER_SECOND = 30, 0.5
"""Wrong tokens of one address before it must wait, and how fast that is forgiven. Who has shown a good token from
there within the hour is let in all the same: a neighbour behind the same address locks nobody out."""
_KNOWN_SECONDS: Final = 3600.0
_MOST_KEPT: Final = 10_000
_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"})
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_SITE: Final = frozenset({b"same-origin", b"none"})


class Refusal(enum.Enum):
    """Why somebody is not let in."""

    UNKNOWN = "unknown"
    NO_TOKEN_YET = "no token yet"  # noqa: S105 - a reason, no secret
    ADDRESS = "address"
    TOO_MANY = "too many"


class Refused(Exception):
    """The caller is not let in; ``wait``: seconds after which another try makes sense (``TOO_MANY``)."""

    def __init__(self, refusal: Refusal, wait: int | None = None) -> None:
        """Take why."""
        super().__init__(refusal.value)
        self.refusal = refusal
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says of its sender. ``address``: the peer, or whom a trusted proxy named; ``headers``: raw."""

    address: str
    headers: Sequence[tuple[bytes, bytes]]

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a header, whose name is given in lower case."""
        return [value for key, value in self.headers if key.lower() == name]


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


Shared = Callable[[Tx], Sequence[bytes]]
"""Returns the secrets ``api-token`` and ``api-token-previous`` that are stored: the CRM's own, which sees everything."""


@dataclass(slots=True)
class Gate:
    """Lets callers in; one per process. ``local``: the listener is loopback and no proxy stands before it.

    ``shared``: see :data:`Shared`; ``same``: compares two secrets in constant time. ``shared_viewer``: who has one.
    """

    read: Callable[..., Awaitable[Any]]
    run: Callable[..., Awaitable[Any]]
    vault: Vault
    clock: Clock
    log: Any
    local: bool
    shared: Shared
    same: Callable[[bytes, bytes], bool]
    shared_viewer: Viewer
    _noted: dict[str, float] = field(default_factory=dict)
    _known: dict[tuple[str, str], float] = field(default_factory=dict)
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    async def admit(self, caller: Caller) -> Viewer:
        """Return who asks.

        Raises:
            Refused: no token, a wrong one, one from a place where it may not be used, or too often.
        """
        given = _bearer(caller)
        if given is None:
            return await self._without_token(caller)
        place = _place(caller.address)
        if not self._has(f"tries {place}", _TRIES) and not self._is_known(place, given):
            raise Refused(Refusal.TOO_MANY, wait=int(1 / _TRIES_PER_SECOND))
        found = await self._found(given)
        if found is None:
            self._spend(f"tries {place}", _TRIES, _TRIES_PER_SECOND)
            raise Refused(Refusal.UNKNOWN)
        self._keep(self._known, (place, self._mark(given)), self.clock.monotonic())
        if isinstance(found, Viewer):
            return found
        if found.addresses and not _is_among(caller.address, found.addresses):
            self.log.warning("access.address_refused", token=found.name)
            raise Refused(Refusal.ADDRESS)
        if not self._spend(f"token {found.name}", 2 * found.rate, found.rate):
            raise Refused(Refusal.TOO_MANY, wait=1)
        await self._note(found.name)
        return found.viewer

    async def _without_token(self, caller: Caller) -> Viewer:
        if await self.read(is_closed, self.shared):
            raise Refused(Refusal.UNKNOWN)
        if self.local and _is_this_machine(caller):
            return Viewer("local", frozenset({"admin"}), Scope.ALL)
        raise Refused(Refusal.NO_TOKEN_YET)

    async def _found(self, given: bytes) -> Viewer | StoredToken | None:
        text = given.decode("ascii", "replace")
        if is_token(text):
            found: StoredToken | None = await self.read(token_viewer, self.vault, text)
            return found
        known = await self.read(self.shared)
        matches = [self.same(given, one) for one in known if one]
        return self.shared_viewer if any(matches) else None

    def _mark(self, given: bytes) -> str:
        return self.vault.digest(given).hex()

    def _is_known(self, place: str, given: bytes) -> bool:
        seen = self._known.get((place, self._mark(given)))
        return seen is not None and self.clock.monotonic() - seen < _KNOWN_SECONDS

    async def _note(self, name: str) -> None:
        now = self.clock.monotonic()
        if now - self._noted.get(name, -_NOTE_SECONDS) < _NOTE_SECONDS:
            return
        self._keep(self._noted, name, now)
        try:
            await self.run(note_use, name)
        except Exception as error:  # noqa: BLE001 - a store closed for writing still answers who may read
            self.log.warning("access.use_not_noted", token=name, error=type(error).__name__)

    def _has(self, name: str, most: float) -> bool:
        bucket = self._buckets.get(name)
        return bucket is None or self._filled(bucket, most, _TRIES_PER_SECOND) >= 1

    def _spend(self, name: str, most: float, per_second: float) -> bool:
        bucket = self._buckets.get(name) or _Bucket(most, self.clock.monotonic())
        bucket.left = self._filled(bucket, most, per_second)
        bucket.at = self.clock.monotonic()
        self._keep(self._buckets, name, bucket)
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True

    def _filled(self, bucket: _Bucket, most: float, per_second: float) -> float:
        return min(most, bucket.left + (self.clock.monotonic() - bucket.at) * per_second)

    def _keep(self, kept: dict[Any, Any], name: object, value: object) -> None:
        """Remember; what was remembered first goes when there is too much: an address costs a caller nothing."""
        kept.pop(name, None)
        kept[name] = value
        if len(kept) > _MOST_KEPT:
            kept.pop(next(iter(kept)))


def is_loopback(listen: str) -> bool:
    """Say whether ``host:port`` can be reached from this machine alone."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_closed(tx: Tx, shared: Shared) -> bool:
    """Say whether a token exists: then nobody is let in without one. A revoked one counts."""
    return any_token(tx) or bool(shared(tx))


def _bearer(caller: Caller) -> bytes | None:
    """Return the token; what is there twice, or no bearer token, counts as a wrong one: b""."""
    values = caller.values(b"authorization")
    if not values:
        return None
    scheme, _, token = values[0].partition(b" ")
    return token if len(values) == 1 and scheme.lower() == b"bearer" else b""


def _is_this_machine(caller: Caller) -> bool:
    """Say whether a person or program of this machine asks, not a proxy and not a page of another site.

    A name of another site may point at 127.0.0.1 (DNS rebinding): so the Host must be a name of this machine.
    """
    try:
        near = ipaddress.ip_address(caller.address).is_loopback
    except ValueError:
        return False
    hosts = [_host(value) for value in caller.values(b"host")]
    origins = [_host(value.partition(b"://")[2]) for value in caller.values(b"origin")]
    return (
        near
        and len(hosts) == 1
        and all(host in _LOCAL_NAMES for host in (*hosts, *origins))
        and all(value in _OWN_SITE for value in caller.values(b"sec-fetch-site"))
        and not any(caller.values(name) for name in _FORWARDED)
    )


def _host(value: bytes) -> str:
    text = value.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _place(address: str) -> str:
    """Return what counts as one address: a caller owns its whole /64 of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def _is_among(address: str, networks: Sequence[str]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return any((mapped or found) in ipaddress.ip_network(network, strict=False) for network in networks)
