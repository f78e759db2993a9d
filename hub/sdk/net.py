"""Which addresses a connection may reach (SSRF rules, reliability.md 3.4).

The order is: parse once, https only, no user-info, port in list, host to ASCII, no numeric host, then every resolved
address against our own block list (``ipaddress.is_global`` passes NAT64, 6to4, ``fec0::1`` and others).
An administrator's :class:`PrivateEntry` opens one private host; nothing else does.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import idna

from hub.errors import SettingsError
from hub.secret import Secret

__all__ = [
    "CheckedUrl",
    "Outbound",
    "PrivateEntry",
    "check_address",
    "check_addresses",
    "check_url",
    "parse_url",
]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MEBIBYTE = 1 << 20


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


BLOCKED = _networks(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",  # holds Alibaba's metadata address 100.100.100.200
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",  # with 255.255.255.255
    "::/96",  # ::, ::1 and IPv4-compatible
    "::ffff:0:0/96",  # IPv4-mapped
    "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
    "64:ff9b::/96",  # NAT64
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",  # Teredo
    "2001:db8::/32",
    "2002::/16",  # 6to4
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)
"""Never reached unless a private entry says so."""

OPENABLE = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"
)
"""Where private installations really live; an entry can open nothing else."""

METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "169.254.169.254", "fd00:ec2::254")
)
"""Cloud metadata addresses: no entry opens them."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@]+)(?::([0-9]{1,5}))?")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SCRIPTS = ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")
_DEFAULT_PORT = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class PrivateEntry:
    """An administrator's leave to reach one private host: exact name and port, and the range its addresses lie in.

    ``plain_http``: the host has no TLS; only addresses inside ``network`` are then spoken to.
    """

    host: str
    port: int
    network: Network
    plain_http: bool = False

    def __post_init__(self) -> None:
        """Refuse an entry that opens more than a private range. Raises SettingsError."""
        if not any(_inside(self.network, openable) for openable in OPENABLE):
            raise SettingsError(
                f"{self.network} is not within a private range an entry may open", field="private"
            )
        if not 0 < self.port < 65536:
            raise SettingsError(f"{self.port} is no port", field="private")

    @classmethod
    def parse(cls, place: str, network: str | None = None, *, plain_http: bool = False) -> PrivateEntry:
        """Read ``host:port`` and a CIDR (may be left out for a literal address). Raises SettingsError."""
        match = _AUTHORITY.fullmatch(place)
        if match is None or match[2] is None:
            raise SettingsError(f"{place!r} is not host:port", field="private")
        host = _ascii_host(match[1])
        try:
            return cls(host, int(match[2]), ipaddress.ip_network(network or host.strip("[]")), plain_http)
        except ValueError as error:
            raise SettingsError(
                f"{place}: {network or 'a CIDR is needed'} is no address range", field="private"
            ) from error


@dataclass(frozen=True, slots=True)
class Outbound:
    """How one connection may go out. Times in seconds, sizes in bytes; no redirects and no proxy from the environment.

    ``private``: hosts an administrator opened. ``ports``: those a public host may be reached on. ``proxy``: the one
    explicit ``http://[user:password@]host:port``; it then resolves the names. ``ca_file``: the only authority trusted.
    ``timeout``: one request with its answer. ``idle_limit``: a pooled connection idle longer is thrown away; keep it
    below the vendor's ``settle_after``. ``pauses``: waits between the tries of one call (() = no second try).
    """

    private: tuple[PrivateEntry, ...] = ()
    ports: frozenset[int] = frozenset({443})
    proxy: Secret | None = None
    ca_file: Path | None = None
    connect_timeout: float = 10.0
    timeout: float = 30.0
    idle_limit: float = 5.0
    max_bytes: int = MEBIBYTE
    connections: int = 100
    pauses: tuple[float, ...] = (0.2, 0.8)

    def __post_init__(self) -> None:
        """Refuse numbers that cannot work. Raises SettingsError."""
        for name in ("connect_timeout", "timeout", "idle_limit", "max_bytes", "connections"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"must be more than 0, not {getattr(self, name)}", field=name)
        if len(self.pauses) > 2 or sum(self.pauses) > 2:
            raise SettingsError(
                "at most 2 pauses of 2 s together: longer waits are the pipe's", field="pauses"
            )

    def entry(self, host: str, port: int) -> PrivateEntry | None:
        """Return the private entry for exactly this host and port."""
        return next((entry for entry in self.private if (entry.host, entry.port) == (host, port)), None)

    def proxy_place(self) -> tuple[str, int] | None:
        """Return host and port of the explicit proxy. Raises SettingsError if it is not an http address."""
        if self.proxy is None:
            return None
        match = _URL.fullmatch(self.proxy.reveal())
        authority = _AUTHORITY.fullmatch(match[2].rpartition("@")[2]) if match else None
        if match is None or authority is None or match[1] != "http" or match[3] not in ("", "/"):
            raise SettingsError("is not http://[user:password@]host:port", field="proxy")
        return _ascii_host(authority[1]), int(authority[2] or 80)


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL taken apart once. ``host`` is ASCII (IPv6 in brackets), ``query`` None if there is no ``?``."""

    scheme: str
    host: str
    port: int
    path: str
    query: str | None

    @property
    def url(self) -> str:
        """Return the URL put together again: what is sent is what was checked."""
        port = "" if self.port == _DEFAULT_PORT[self.scheme] else f":{self.port}"
        query = "" if self.query is None else f"?{self.query}"
        return f"{self.scheme}://{self.host}{port}{self.path}{query}"

    @property
    def shown(self) -> str:
        """Return the path for a log: every query value masked."""
        if self.query is None:
            return self.path
        names = (part.partition("=")[0] for part in self.query.split("&"))
        return f"{self.path}?{'&'.join(f'{name}=***' for name in names)}"


def check_url(url: str, rules: Outbound) -> CheckedUrl:
    """Take a URL apart and refuse all that the rules do not allow; names are resolved later, by the connection.

    Raises:
        SettingsError: with the part that is not allowed; the text never holds user-info or query.
    """
    checked = parse_url(url)
    _check_origin(checked.scheme, checked.host, checked.port, rules)
    return checked


def parse_url(url: str) -> CheckedUrl:
    """Take a URL apart by a grammar narrow enough that every later parser agrees. Raises SettingsError."""
    match = _URL.fullmatch(url)
    if match is None or len(url) > 8192 or _UNSAFE.search(url):
        raise SettingsError(
            "not a URL of at most 8,192 characters without white space, control characters and backslashes",
            field="url",
        )
    scheme, authority, path, query, fragment = match.groups()
    if scheme.lower() not in _DEFAULT_PORT:
        raise SettingsError(f"{scheme!r} is not http or https", field="url")
    if fragment is not None:
        raise SettingsError("a fragment (#) is not sent and not allowed", field="url")
    host, port = _place(authority, scheme.lower())
    return CheckedUrl(scheme.lower(), host, port, path or "/", query)


def check_address(
    address: Address | str, rules: Outbound, *, host: str = "", port: int = 0, plain: bool = False
) -> None:
    """Refuse an address that is not public, unless the private entry for host and port covers it.

    ``plain``: the address would be spoken to without TLS, so it must be inside the entry. Raises SettingsError.
    """
    ip = ipaddress.ip_address(address)
    entry = rules.entry(host, port)
    opened = entry is not None and ip.version == entry.network.version and ip in entry.network
    if getattr(ip, "scope_id", None) or ip in METADATA:
        raise SettingsError(f"{host or ip}: address {ip} is never allowed", field="url")
    if opened or (host, port) == rules.proxy_place():
        return
    if plain or any(ip.version == network.version and ip in network for network in BLOCKED):
        raise SettingsError(
            f"{host or ip}: address {ip} is not public; an administrator must allow this host, port and range",
            field="url",
        )


def check_addresses(addresses: Sequence[str], rules: Outbound, *, host: str, port: int) -> None:
    """Check every address a name resolved to; one that is not allowed refuses them all. Raises SettingsError."""
    entry = rules.entry(host, port)
    for address in addresses:
        check_address(address, rules, host=host, port=port, plain=entry is not None and entry.plain_http)


@lru_cache(maxsize=1024)
def _check_origin(scheme: str, host: str, port: int, rules: Outbound) -> None:
    entry = rules.entry(host, port)
    if scheme != "https" and not (entry is not None and entry.plain_http):
        raise SettingsError(
            f"{host}:{port}: https only (plain http needs a private entry that says so)", field="url"
        )
    if entry is None and port not in rules.ports:
        raise SettingsError(f"{host}: port {port} is not in the list {sorted(rules.ports)}", field="url")
    literal = host.startswith("[") or _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2])
    if not literal:
        return
    if entry is None:
        raise SettingsError(f"{host}: an address instead of a name needs a private entry", field="url")
    check_address(host.strip("[]"), rules, host=host, port=port, plain=entry.plain_http)


@lru_cache(maxsize=1024)
def _place(authority: str, scheme: str) -> tuple[str, int]:
    if "@" in authority:
        raise SettingsError("user name or password in the URL is not allowed", field="url")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise SettingsError("the host is not readable", field="url")
    port = int(match[2]) if match[2] else _DEFAULT_PORT[scheme]
    if not 0 < port < 65536:
        raise SettingsError(f"{port} is no port", field="url")
    return _ascii_host(match[1]), port


def _ascii_host(host: str) -> str:
    """Return the host in ASCII: a canonical address, or a name of plain labels. Raises SettingsError."""
    if host.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host.strip('[]'))}]"
        except ValueError as error:
            raise SettingsError(f"{host} is no IPv6 address", field="url") from error
    labels = [_ascii_label(label) for label in host.split(".")]
    ascii_host = ".".join(labels)
    if len(ascii_host) > 253:
        raise SettingsError("the host is longer than 253 characters", field="url")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # Resolvers read 2130706433, 0x7f.1, 0177.0.0.1 and 127.1 as addresses: only the canonical form passes.
        try:
            return str(ipaddress.IPv4Address(ascii_host))
        except ValueError as error:
            raise SettingsError(f"{ascii_host}: a number is no host name", field="url") from error
    return ascii_host


def _ascii_label(label: str) -> str:
    """Return one label in ASCII; Chinese, Japanese and Korean names pass, look-alike scripts do not."""
    try:
        lowered = label.lower() if label.isascii() else idna.alabel(label).decode("ascii")
        shown = idna.ulabel(lowered) if lowered.startswith("xn--") else lowered
    except (idna.IDNAError, UnicodeError) as error:
        raise SettingsError(f"the host label {label!a} is not allowed in a name", field="url") from error
    foreign = [
        char for char in shown if not char.isascii() and not unicodedata.name(char, "").startswith(_SCRIPTS)
    ]
    if foreign or not _LABEL.fullmatch(lowered):
        raise SettingsError(
            f"the host label {label!a} is empty, malformed or looks like another one", field="url"
        )
    return lowered


def _inside(network: Network, outer: Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and network.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and network.subnet_of(outer)
