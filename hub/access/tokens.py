"""API tokens: made once, shown once, kept as a digest.

A token is ``hub_`` + 43 characters (256 random bits, base 62) + 6 (their CRC-32, base 62), as GitHub writes its own
(github.blog, "Behind GitHub's new authentication token formats"): a scanner knows a leaked one by its prefix and
checksum, and the gate refuses a mistyped one without asking the store.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from hub.access.viewer import ROLES, Role, Viewer, scope_of
from hub.errors import HubError
from hub.store import schema, sql
from hub.store.tx import Tx
from hub.vault import Vault

__all__ = [
    "DEFAULT_RATE",
    "MOST_DAYS",
    "PREFIX",
    "StoredToken",
    "TokenRefused",
    "TokenSpec",
    "any_token",
    "create_token",
    "is_token",
    "list_tokens",
    "note_use",
    "revoke_token",
    "token_viewer",
]

PREFIX: Final = "hub_"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}", re.ASCII)
MOST_DAYS: Final = 3660
DEFAULT_RATE: Final = 100
"""Requests per second of a token unless it says otherwise."""
_DAY: Final = 86_400_000_000
_MINUTE: Final = 60_000_000
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM, _CHECK = 43, 6
_FORM: Final = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_RANDOM}}})([0-9A-Za-z]{{{_CHECK}}})", re.ASCII)

_COLUMNS = (
    "name, roles, reach, regions, entities, owner, addresses, rate, expires, made, maker, used, revoked"
)
_insert = sql.bulk_insert(
    schema.tokens,
    "name digest roles reach regions entities owner addresses rate expires made maker used revoked",
    on_conflict="nothing",
    key="name",
    returning="name",
)
_by_digest = sql.query(f"SELECT {_COLUMNS} FROM tokens WHERE digest = ?")  # noqa: S608 - our own column names
_every = sql.query(f"SELECT {_COLUMNS} FROM tokens WHERE name > '' ORDER BY name")  # noqa: S608
_first = sql.query("SELECT name FROM tokens WHERE name > '' LIMIT 1")
_revoke = sql.command("UPDATE tokens SET revoked = ? WHERE name = ? AND revoked IS NULL")
_use = sql.command("UPDATE tokens SET used = ? WHERE name = ? AND (used IS NULL OR used < ?)")


class TokenRefused(HubError):
    """A token cannot be made or revoked as asked; says why in English, ``zh`` in Chinese."""

    def __init__(self, en: str, zh: str) -> None:
        """Take the reason in both languages."""
        super().__init__(en)
        self.en = en
        self.zh = zh


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """What a token shall be. ``days``: until it expires; ``addresses``: networks it may be used from, none: any."""

    name: str
    roles: Sequence[str]
    reach: str = "all"
    regions: Sequence[str] = ()
    entities: Sequence[str] | None = None
    owner: str | None = None
    addresses: Sequence[str] = ()
    rate: int = DEFAULT_RATE
    days: int = 365


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as the store knows it, without what opens the door. Times in µs."""

    name: str
    roles: tuple[Role, ...]
    reach: str
    regions: tuple[str, ...]
    entities: tuple[str, ...] | None
    owner: str | None
    addresses: tuple[str, ...]
    rate: int
    expires: int
    made: int
    maker: str
    used: int | None
    revoked: int | None

    @property
    def viewer(self) -> Viewer:
        """Who asks with it."""
        scope = scope_of(self.reach, self.regions, entities=self.entities, owner=self.owner)
        return Viewer(f"token:{self.name}", frozenset(self.roles), scope)


def create_token(tx: Tx, vault: Vault, spec: TokenSpec, *, by: str) -> str:
    """Store a new token and return it: the one moment at which it can be read.

    Raises:
        TokenRefused: the name is taken (also by a revoked token: acts name it) or not one; roles, reach, days or rate.
    """
    _check(spec)
    text = _written(tx.clock.token(32))
    expires = tx.now + spec.days * _DAY
    row = (
        spec.name, _digest(vault, text), _json(sorted(set(spec.roles))), spec.reach, _json(sorted(set(spec.regions))),
        None if spec.entities is None else _json(sorted(set(spec.entities))), spec.owner, _json(list(spec.addresses)),
        spec.rate, expires, tx.now, by, None, None,
    )  # fmt: skip
    if not _insert(tx, [row]):
        raise TokenRefused(f"there is a token {spec.name!r} already", f"已有名为 {spec.name!r} 的令牌")
    told = {
        "token": spec.name, "outcome": "created", "roles": sorted(set(spec.roles)), "reach": spec.reach,
        "regions": sorted(set(spec.regions)), "expires": expires,
    }  # fmt: skip
    tx.journal(by, "token.created", {"items": [told]})
    return text


def revoke_token(tx: Tx, name: str, *, by: str) -> bool:
    """Take a token out of use for good; False if there is none of this name that works."""
    if not _revoke(tx, tx.now, name):
        return False
    tx.journal(by, "token.revoked", {"items": [{"token": name, "outcome": "revoked"}]})
    return True


def list_tokens(tx: Tx) -> list[StoredToken]:
    """Return every token by name, revoked ones too."""
    return [_stored(row) for row in _every(tx)]


def any_token(tx: Tx) -> bool:
    """Say whether a token was ever made here: from then on nobody is let in without one."""
    return bool(_first(tx))


def is_token(text: str) -> bool:
    """Say whether a text is written as a token, checksum and all; nothing is known of whether it opens anything."""
    match = _FORM.fullmatch(text)
    return match is not None and _check_of(match[1]) == match[2]


def token_viewer(tx: Tx, vault: Vault, text: str) -> StoredToken | None:
    """Return the token if it is in force now, None if it is unknown, expired or revoked."""
    rows = _by_digest(tx, _digest(vault, text))
    found = _stored(rows[0]) if rows else None
    if found is None or found.revoked is not None or found.expires <= tx.now:
        return None
    return found


def note_use(tx: Tx, name: str) -> None:
    """Keep when a token was used, by the minute: a row written at every request would be the API's slowest part."""
    _use(tx, tx.now, name, tx.now - _MINUTE)


def _check(spec: TokenSpec) -> None:
    if not _NAME.fullmatch(spec.name):
        raise TokenRefused(
            "a name is a-z, 0-9, '.', '_', '-', at most 80", "名称只能用 a-z、0-9、.、_、-，最多 80 个字符"
        )
    unknown = sorted(set(spec.roles) - set(ROLES))
    if unknown or not spec.roles:
        known = ", ".join(ROLES)
        raise TokenRefused(f"roles are one or more of {known}", f"角色须为 {known} 中的一个或多个")
    if not 1 <= spec.days <= MOST_DAYS or not 1 <= spec.rate <= 100_000:
        raise TokenRefused(
            f"days are 1 to {MOST_DAYS}, the rate 1 to 100000", f"有效期为 1 至 {MOST_DAYS} 天，速率为每秒 1 至 100000 次"
        )  # fmt: skip
    try:
        scope_of(spec.reach, spec.regions, entities=spec.entities, owner=spec.owner)
    except ValueError as error:
        raise TokenRefused(
            str(error),
            "范围不成立：all 不带大区，self 与 subtree 须带大区，self 还须带负责人",
        ) from None


def _written(raw: bytes) -> str:
    body = _base62(int.from_bytes(raw, "big"), _RANDOM)
    return f"{PREFIX}{body}{_check_of(body)}"


def _check_of(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _digest(vault: Vault, text: str) -> bytes:
    """Return the keyed digest under which a token is stored.

    A fast one is right here, unlike for passwords: slowness protects what can be guessed, and 256 random bits cannot.
    The key (from the key file) makes a copied store useless for testing tokens found elsewhere.
    """
    key = b"".join(vault.digest(b"access token %d" % part) for part in range(4))
    return hashlib.blake2b(text.encode(), digest_size=32, key=key).digest()


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _stored(row: tuple[Any, ...]) -> StoredToken:
    known: Mapping[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    lists = {name: tuple(orjson.loads(known[name])) for name in ("roles", "regions", "addresses")}
    entities = None if known["entities"] is None else tuple(orjson.loads(known["entities"]))
    return StoredToken(**{**known, **lists, "entities": entities})
