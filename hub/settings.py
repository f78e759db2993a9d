"""Settings of the process, from ``HUB_*`` environment variables; what is connected to what stands in ``hub.yaml``."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from hub.errors import SettingsError

__all__ = ["DATA_DIR", "PREFIX", "TESTS", "ListenAddress", "Settings", "load_settings"]

PREFIX = "HUB_"
TESTS = f"{PREFIX}TEST_"
"""What the suite's own variables begin with: no misspelt settings."""
DATA_DIR = Path("var")
"""Where the hub keeps its own files unless told otherwise."""

STORE_DIALECTS = ("sqlite", "postgresql")


def _listen_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("is not host:port (port 0 takes a free one)")
    return text


def _addresses(text: str) -> str:
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            ipaddress.ip_network(part)
        except ValueError:
            raise ValueError(f"{part[:50]!a} is not an IP address or network") from None
    return text


def _public_url(text: str) -> str:
    url = urlsplit(text)
    plain = not text or (url.scheme == "http" and url.hostname in ("127.0.0.1", "localhost", "::1"))
    if (
        (url.scheme != "https" and not plain)
        or (text and not url.hostname)
        or url.username
        or url.query
        or url.fragment
    ):
        raise ValueError("is not https://host[:port][/path]; http only for this machine")
    return text.rstrip("/")


def _store_url(url: SecretStr) -> SecretStr:
    dialect = url.get_secret_value().partition("://")[0].partition("+")[0]
    if dialect not in STORE_DIALECTS or "://" not in url.get_secret_value():
        raise ValueError(f"is not a {' or '.join(STORE_DIALECTS)} address")
    return url


def _brokers(text: str) -> str:
    return ",".join(_listen_address(part.strip()) for part in text.split(","))


def _topic_prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,100}", text):
        raise ValueError("may hold letters, digits, '.', '_' and '-', 100 at most")
    return text


ListenAddress = Annotated[str, AfterValidator(_listen_address)]
"""``host:port``."""


class Settings(BaseSettings):
    """What one process needs before it reads anything else; each field is the variable HUB_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    data_dir: Path = DATA_DIR
    """Where the embedded engine keeps its files: store, log, key."""
    store_url: Annotated[SecretStr, AfterValidator(_store_url)] | None = None
    """The store; a PostgreSQL address holds a password, so it is never shown. Default: SQLite in ``data_dir``."""
    store_url_file: Path | None = None
    """A file with the address instead (a container's secret), so that no environment shows a password."""
    kafka_bootstrap: Annotated[str, AfterValidator(_brokers)] | None = None
    """Kafka's brokers, host:port by commas: the bus is there. Default: the log in a file in ``data_dir``."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_sasl_password_file: Path | None = None
    """A file with the password instead."""
    kafka_ca_file: Path | None = None
    """Whom to trust (PEM) where TLS is used; default: what the machine trusts."""
    kafka_single_broker: bool = False
    """States that there is one broker and no replica. Otherwise 3 replicas are needed, of which 2 acknowledge."""
    kafka_topic_prefix: Annotated[str, AfterValidator(_topic_prefix)] = ""
    """What the names of the hub's topics begin with, where more than one hub uses the brokers."""
    kafka_partitions: Annotated[int, Field(ge=1, le=64)] = 4
    """Partitions of each topic but hub.alerts. Chosen once: with another number keys would lose their order."""
    project_dir: Path = Path()
    """The folder with ``hub.yaml`` and ``mappings/``."""
    key_file: Path | None = None
    """The key-encryption key; default ``data_dir/key``."""
    seal_head_file: Path | None = None
    """Where the embedded engine keeps the newest seal outside its data folder, to know a copied or restored store by;
    default: ``<data_dir>.head``, beside it. With Kafka the topic ``hub.alerts`` keeps it."""
    listen_hooks: ListenAddress = "127.0.0.1:8081"
    """Where vendors call us."""
    listen_ops: ListenAddress = "127.0.0.1:8080"
    """Where our own people and systems call: API, health, metrics."""
    public_url: Annotated[str, AfterValidator(_public_url)] = ""
    """Where people's phones reach ``listen_hooks``, by a proxy with TLS: links to files begin with it. Default: no links."""
    trusted_proxies: Annotated[str, AfterValidator(_addresses)] = ""
    """Addresses or networks of our own proxies, by commas: from these alone X-Forwarded-For is believed."""
    request_head_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long a caller may take from connecting until the head of its request is complete."""
    request_body_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long it may take from there until the body is complete."""
    waiting_connections: Annotated[int, Field(gt=0)] = 512
    """Connections of one listener without a complete request; beyond, the one that waited longest is cut."""
    start_patience: Annotated[float, Field(ge=0)] = 60.0
    """Seconds for which `hub up` and `hub migrate` wait for a store or bus that does not answer yet; 0: not at all."""
    audit_keep_days: Annotated[int, Field(ge=1)] | None = None
    """Days for which acts stay in the store; older ones are exported, verified and then dropped. Default: they stay."""
    audit_archive: Path | None = None
    """The folder they are exported to, one that every worker reaches; default ``data_dir/audit-archive``."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"

    @property
    def store_address(self) -> str:
        """Return the store's address in the clear, for whoever opens it."""
        return (
            f"sqlite:///{self.data_dir / 'hub.db'}"
            if self.store_url is None
            else self.store_url.get_secret_value()
        )

    @property
    def head_path(self) -> Path:
        """Return where the seal head of the embedded engine is."""
        data = self.data_dir.absolute()
        return self.seal_head_file or data.with_name(f"{data.name}.head")

    @property
    def archive_path(self) -> Path:
        """Return where acts are exported to before they leave the store."""
        return self.audit_archive or self.data_dir / "audit-archive"

    @property
    def key_path(self) -> Path:
        """Return where the key-encryption key is."""
        return self.key_file or self.data_dir / "key"


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; ``overrides`` (from command-line options) win.

    Raises:
        SettingsError: a value that does not fit, or a variable that looks like a misspelt one; names the variable.
    """
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    for variable in sorted(os.environ.keys() - known):
        near = difflib.get_close_matches(variable, known, n=1, cutoff=0.85)
        if variable.startswith(PREFIX) and near and not variable.startswith(TESTS):
            raise SettingsError(f"is not a setting; did you mean {near[0]}?", field=variable)
    try:
        return Settings(**_from_files(overrides))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = f"{PREFIX}{first['loc'][0]}".upper() if first["loc"] else PREFIX
        # Without the input: a store address holds a password.
        raise SettingsError(str(first["msg"]).removeprefix("Value error, "), field=name) from None


_IN_FILES = ("store_url", "kafka_sasl_password")
"""Secrets that a file may hold: ``HUB_<NAME>_FILE`` instead of ``HUB_<NAME>``."""


def _from_files(overrides: dict[str, Any]) -> dict[str, Any]:
    """Add what files hold; a last line end is not part of it."""
    found = dict(overrides)
    for name in _IN_FILES:
        variable = f"{PREFIX}{name}_FILE".upper()
        named = found.get(f"{name}_file") or os.environ.get(variable)
        if not named or (
            name in overrides and overrides[name] is None
        ):  # None says: the default, whatever is set
            continue
        if os.environ.get(variable.removesuffix("_FILE")) or name in overrides:
            raise SettingsError(
                f"is set beside {variable.removesuffix('_FILE')}: one of both", field=variable
            )
        try:
            found[name] = Path(named).read_text("utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot be read: {error}", field=variable) from error
    return found
