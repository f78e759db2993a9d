"""The bus: everything that comes in until it has taken effect, and every change on its way out.

The bus on Kafka is in :mod:`hub.bus.kafka` and not named here: its client is loaded only where it is used.
"""

from __future__ import annotations

from hub.bus.log import Log
from hub.bus.port import (
    ALERTS,
    CHANGES,
    INBOUND,
    INBOUND_BULK,
    MAX_MESSAGE,
    TOPICS,
    Batch,
    Bounds,
    Bus,
    Message,
    Placed,
    Topic,
    lag,
    partition_of,
    reader,
)

__all__ = [
    "ALERTS",
    "CHANGES",
    "INBOUND",
    "INBOUND_BULK",
    "MAX_MESSAGE",
    "TOPICS",
    "Batch",
    "Bounds",
    "Bus",
    "Log",
    "Message",
    "Placed",
    "Topic",
    "lag",
    "partition_of",
    "reader",
]
