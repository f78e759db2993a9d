"""What the hub keeps on a Kafka cluster: its topics, and whether they are durable.

Topics that are missing are made; one that is there is only checked. A topic that forgets by itself, loses what one
broker loses, or has another number of partitions than the hub was set up with stops the start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    NodeNotReadyError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from hub.bus.kafka_client import KafkaAddress, administrator, heard
from hub.bus.port import Topic
from hub.clock import Clock
from hub.errors import SettingsError, Unreachable

__all__ = ["prepare"]

BOOTSTRAP, SINGLE = "HUB_KAFKA_BOOTSTRAP", "HUB_KAFKA_SINGLE_BROKER"
PAUSE = 0.05
"""Seconds between two looks at whether new topics have their leaders."""

TURNED_AWAY = ("uthentication", "uthorization", "SASL", "Sasl", "CERTIFICATE", "SSL", "UnsupportedVersion")
"""What the client says of brokers that never let us in; all else may pass: they may be starting."""


async def prepare(address: KafkaAddress, topics: Mapping[str, Topic], clock: Clock, patience: float) -> str:
    """Make the topics that are missing, check all of them, and return the cluster's id.

    Raises:
        Unreachable: no broker answers, or none is ready.
        SettingsError: no broker lets us in, or a topic is not what the hub needs; says what to change.
    """
    until = clock.monotonic() + patience
    with heard() as reasons:
        while True:
            try:
                cluster, found, settings = await _prepared(address, topics, clock, patience)
                break
            except (KafkaError, TimeoutError) as error:
                if (
                    isinstance(error, NodeNotReadyError) and clock.monotonic() < until
                ):  # has only just come back
                    await clock.sleep(PAUSE)
                    continue
                why = "; ".join(dict.fromkeys([str(error) or type(error).__name__, *reasons[-2:]]))
                kind = SettingsError if any(said in why for said in TURNED_AWAY) else Unreachable
                raise kind(f"{address.bootstrap} cannot be used: {why}", field=BOOTSTRAP) from error
    for name, topic in topics.items():
        _check(topic, found[name], settings[name], address)
    return cluster


Partitions = Sequence[Mapping[str, Any]]


async def _prepared(
    address: KafkaAddress, topics: Mapping[str, Topic], clock: Clock, patience: float
) -> tuple[str, dict[str, Partitions], dict[str, dict[str, str]]]:
    """Return the cluster's id, and the partitions and settings of the topics, all of which are there."""
    async with administrator(address, patience) as admin:
        cluster = (await admin.describe_cluster())["cluster_id"]
        there = await _described(admin, list(topics))
        if missing := [topic for name, topic in topics.items() if name not in there]:
            await _make(admin, missing, address)
        return str(cluster), *await _settled(admin, list(topics), clock, patience)


async def _described(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, Partitions]:
    """Return the partitions of those topics that are there."""
    told = await admin.describe_topics(names)
    return {one["topic"]: one["partitions"] for one in told if one["error_code"] == 0}


async def _make(admin: AIOKafkaAdminClient, missing: Sequence[Topic], address: KafkaAddress) -> None:
    copies = 1 if address.single_broker else 3
    new = [NewTopic(one.name, one.partitions, copies, topic_configs=address.wanted()) for one in missing]
    answer = await admin.create_topics(new)
    for name, code, *said in answer.topic_errors:
        if (
            code and for_code(code) is not TopicAlreadyExistsError
        ):  # another process may start at the same time
            why = " ".join(filter(None, (for_code(code).__name__, *said)))
            if "fenced" in why:  # a broker that has just started leads nothing yet
                raise NodeNotReadyError(why)
            hint = "" if address.single_broker else f" (one broker alone: state it with {SINGLE}=true)"
            raise SettingsError(f"topic {name} cannot be made: {why}{hint}", field=BOOTSTRAP)


async def _settled(
    admin: AIOKafkaAdminClient, names: list[str], clock: Clock, patience: float
) -> tuple[dict[str, Partitions], dict[str, dict[str, str]]]:
    """Wait until every topic has its leaders and any broker knows its settings; return partitions and settings."""
    until = clock.monotonic() + patience
    while True:
        with contextlib.suppress(UnknownTopicOrPartitionError):  # asked one that has not heard of it yet
            found = await _described(admin, names)
            settings = await _settings(admin, names)
            if found.keys() == settings.keys() and all(map(_has_leader, chain.from_iterable(found.values()))):
                return found, settings
        if clock.monotonic() > until:
            raise TimeoutError(f"topics have no leader after {patience:g} s")
        await clock.sleep(PAUSE)


def _has_leader(partition: Mapping[str, Any]) -> bool:
    return bool(partition["leader"] >= 0)  # a replica that is away is no reason to wait


async def _settings(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    found: dict[str, dict[str, str]] = {}
    for answer in answers:
        for code, said, _, name, entries in answer.resources:
            if code:
                raise for_code(code)(said)
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def _check(topic: Topic, partitions: Partitions, settings: Mapping[str, str], address: KafkaAddress) -> None:
    if len(partitions) != topic.partitions:
        raise SettingsError(
            f"topic {topic.name} has {len(partitions)} partitions, the hub is set up for {topic.partitions}: a key "
            "would change its partition and lose its order. A topic that holds messages keeps its number",
            field="HUB_KAFKA_PARTITIONS",
        )
    copies = min(len(one["replicas"]) for one in partitions)
    if not address.single_broker and copies < 3:
        raise SettingsError(
            f"topic {topic.name} has {copies} replica(s), a broker that dies would take accepted events with it: "
            f"3 are needed, or state {SINGLE}=true",
            field=SINGLE,
        )
    wrong = [
        f"{name}={settings.get(name)} (must be {value})"
        for name, value in address.wanted().items()
        if not _fits(name, settings.get(name, ""), value)
    ]
    if wrong:
        raise SettingsError(
            f"topic {topic.name} is not set up as needed: {', '.join(wrong)}", field=BOOTSTRAP
        )


def _fits(name: str, found: str, wanted: str) -> bool:
    if name in {"min.insync.replicas", "max.message.bytes"}:
        return found.isdecimal() and int(found) >= int(wanted)
    return found == wanted
