"""How the hub lets itself in to Kafka: the address, clients that start and stop cleanly, and a log that stays short."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from hub.clock import Clock
from hub.errors import SettingsError
from hub.log import Quiet, calm

__all__ = [
    "LARGEST_BATCH",
    "Client",
    "KafkaAddress",
    "administrator",
    "calm_logs",
    "closers",
    "heard",
    "is_dead",
    "started",
    "stop_later",
    "stopped",
]

LARGEST_BATCH = 1_048_588
"""Bytes of a batch that a broker takes unless told otherwise (``message.max.bytes``)."""
CLOSING = 5.0
"""Seconds for what is still unsent when a client is closed."""
QUIET = 10.0
"""Seconds for which a log line of the client is not repeated: an outage writes some 70 a second."""
LOGGERS = ("client", "cluster", "conn", "consumer.fetcher", "producer.sender")


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where the brokers are and how to be let in.

    ``bootstrap``: host:port, by commas; ``protocol``: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; ``ca_file``: whom to
    trust (default: what the machine trusts); ``single_broker``: the operator states that there are no replicas.
    """

    bootstrap: str
    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    single_broker: bool = False

    def options(self, patience: float) -> dict[str, Any]:
        """Return what each client of the library is made with; ``patience``: seconds for one request.

        Raises:
            SettingsError: the CA file cannot be used, or name and password are missing.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "client_id": "hub",
            "request_timeout_ms": round(patience * 1000),
            "metadata_max_age_ms": 30_000,
            "security_protocol": self.protocol,
        }
        if self.protocol.endswith("SSL"):
            try:
                options["ssl_context"] = ssl.create_default_context(cafile=self.ca_file)
            except OSError as error:
                raise SettingsError(f"cannot be used: {error}", field="HUB_KAFKA_CA_FILE") from error
        if self.protocol.startswith("SASL"):
            if not self.username or not self.password:
                raise SettingsError(
                    f"is needed with {self.protocol}, and the password", field="HUB_KAFKA_SASL_USERNAME"
                )
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    def wanted(self) -> dict[str, str]:
        """Return how a topic must be set up: it forgets only what it is told to, and is durable."""
        durable = {"flush.messages": "1"} if self.single_broker else {"min.insync.replicas": "2"}
        return {
            "cleanup.policy": "delete",
            "retention.ms": "-1",
            "retention.bytes": "-1",
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(LARGEST_BATCH),
            "unclean.leader.election.enable": "false",
            **durable,
        }


class Client(Protocol):
    """A producer or consumer of the library."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Close."""


closers: set[asyncio.Task[None]] = set()
"""Clients being closed, maybe behind a caller's back: their loop must not end before they are."""


async def started(client: Client) -> None:
    """Start a client, or close it.

    A start that is cancelled would leave the connection under way open, so it is let come to its end, behind the caller.

    Raises:
        KafkaError: no broker can be reached.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except BaseException:
        _closer(_stop(client, after=starting))
        raise


async def stopped(client: Client) -> None:
    """Stop a client within a bounded time, whatever became of it; goes on if the caller is cancelled."""
    await asyncio.shield(_closer(_stop(client)))


def stop_later(client: Client) -> None:
    """Stop a client behind the caller's back."""
    _closer(_stop(client))


def is_dead(client: Client) -> bool:
    """Say whether a producer's sender has ended: what it is given would wait for ever."""
    sender = _sender(client)
    return sender is not None and sender.done()


def _sender(client: Client) -> asyncio.Task[None] | None:
    found: asyncio.Task[None] | None = getattr(getattr(client, "_sender", None), "sender_task", None)
    return found


def _closer(closing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(closing)
    closers.add(task)
    task.add_done_callback(closers.discard)
    return task


async def _stop(client: Client, after: asyncio.Future[None] | None = None) -> None:
    if after is not None:
        await asyncio.wait([after])
    stopping = asyncio.ensure_future(client.stop())
    await asyncio.wait([stopping], timeout=CLOSING)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    # A producer's stop waits for brokers that are away, a consumer's is cancelled by its own fetch that was just about
    # to be repeated; sender and connections would live on, and there is no public way to end them.
    stopping.cancel()
    sender = _sender(client)
    if sender is not None:
        sender.cancel()
    await asyncio.wait([one for one in (stopping, sender) if one is not None], timeout=CLOSING)
    connections = getattr(client, "client", None) or getattr(client, "_client", None)
    if connections is not None:
        with contextlib.suppress(KafkaError, asyncio.CancelledError):
            await connections.close()


@contextlib.asynccontextmanager
async def administrator(address: KafkaAddress, patience: float) -> AsyncIterator[AIOKafkaAdminClient]:
    """Give a client for questions about the cluster.

    Raises:
        KafkaError: no broker can be reached, or none lets us in; the reason stands in the client's log only.
    """
    client = AIOKafkaAdminClient(**address.options(patience))
    try:
        await client.start()
        yield client
    finally:
        await client.close()


# ------------------------------------------------------------------------------------------------ the log


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what the client writes to its log: why it was not let in stands nowhere else."""
    listener, log = _Listener(), logging.getLogger("aiokafka")
    log.addHandler(listener)
    try:
        yield listener.heard
    finally:
        log.removeHandler(listener)


def calm_logs(clock: Clock) -> None:
    """Keep an outage from filling the log; calling it again changes nothing."""
    for name in LOGGERS:  # each with a memory of its own: two may say the same
        calm([f"aiokafka.{name}"], Quiet(clock.monotonic, QUIET))
