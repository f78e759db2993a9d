"""The services of docker-compose.yml as plain processes: their own commands and environment, a real Kafka and PostgreSQL.

What differs is what a container brings: hosts and ports, and where its files lie.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from ruamel.yaml import YAML

from tests.chaos.hubs import free_ports

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0


@dataclass
class Host:
    """One machine on which the services run. ``moved``: what a container has -> what there is here."""

    folder: Path
    moved: dict[str, str]
    extra: dict[str, str]
    services: dict[str, Any]
    stack: contextlib.ExitStack
    running: dict[str, list[subprocess.Popen[str]]] = field(default_factory=dict)

    def here(self, text: str) -> str:
        for there, here in self.moved.items():
            text = text.replace(there, here)
        return text

    def environment(self, name: str) -> dict[str, str]:
        given = {key: self.here(value) for key, value in self.services[name].get("environment", {}).items()}
        clean = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
        return {**clean, "LANG": "C.UTF-8", "PATH": path, **given, **self.extra}

    def once(self, name: str) -> None:
        """Run a service that ends."""
        words = [self.here(word) for word in self.services[name]["entrypoint"]]
        done = subprocess.run(
            words, env={**self.environment(name), "SECRETS_DIR": self.here("/run/secrets")}, cwd=self.folder,
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, name: str, **environment: str) -> dict[str, Any]:
        """Start one process of a service and return what it says when it serves."""
        words = [self.here(word) for word in self.services[name]["command"]]
        log = self.stack.enter_context((self.folder / f"{name}.log").open("a"))
        process = subprocess.Popen(
            [sys.executable, "-m", "hub", *words, "--output", "json"], env={**self.environment(name), **environment},
            cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        self.stack.callback(_end, process)
        self.running.setdefault(name, []).append(process)
        assert process.stdout is not None
        return _told(process.stdout, self.folder / f"{name}.log")


def _told(out: IO[str], log: Path) -> dict[str, Any]:
    text = ""
    for line in out:
        text += line
        with contextlib.suppress(ValueError):
            return json.loads(text)
    raise AssertionError(f"it ended: {text}{log.read_text('utf-8')}")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    store, kafka = request.getfixturevalue("fresh_postgres_url"), request.getfixturevalue("kafka")
    secrets = tmp_path / "secrets"
    subprocess.run(["sh", str(ROOT / "deploy/compose/make-secrets.sh"), str(secrets)], check=True)
    (secrets / "store_url").write_text(f"{store}\n")
    hooks, ops, k3, wecom = free_ports(4)
    state, etc = tmp_path / "state", tmp_path / "etc"
    state.mkdir(mode=0o700)
    moved = {
        "kafka:9092": kafka.address, "/run/secrets": str(secrets), "/var/lib/hub": str(state), "/etc/hub": str(etc),
        "0.0.0.0:8081": f"127.0.0.1:{hooks}", "0.0.0.0:8080": f"127.0.0.1:{ops}", "0.0.0.0": "127.0.0.1",
        "9401": str(k3), "9402": str(wecom), "172.30.77.0/24": "127.0.0.1", "http://kingdee": "http://127.0.0.1",
        "http://wecom": "http://127.0.0.1", "host: kingdee": "host: 127.0.0.1", "host: wecom": "host: 127.0.0.1",
    }  # fmt: skip
    services = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    with contextlib.ExitStack() as stack:
        extra = {"HUB_KAFKA_TOPIC_PREFIX": f"{tmp_path.name}.{os.getpid()}."}  # the broker is shared
        made = Host(tmp_path, moved, extra, services, stack)
        _mounted(made, etc)
        yield made


def _mounted(host: Host, etc: Path) -> None:
    """Lay the files where the services mount them."""
    for volume in host.services["setup"]["volumes"]:
        source, target, *_ = volume.split(":")
        if source.startswith("./"):
            place = Path(host.here(target))
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place)
            else:
                place.write_text(host.here((ROOT / source).read_text("utf-8")), "utf-8")
    assert (etc / "hub.yaml").exists()


def until(said: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := said()):
        assert time.monotonic() < end, what
        time.sleep(0.1)
    return found


@pytest.mark.slow
def test_the_services_of_the_compose_file_take_a_callback_in_and_write_to_both_vendors(host: Host) -> None:
    for vendor in ("kingdee", "wecom"):
        host.start(vendor)
    host.once("setup")
    host.once("setup")  # a second `docker compose up` runs it again
    gateway = host.start("gateway")
    alone = {"HUB_LISTEN_OPS": "127.0.0.1:0"}  # containers have an address each
    for _ in range(host.services["worker"]["deploy"]["replicas"]):
        host.start("worker", **alone)
    console = host.start("console", **alone)
    control = f"http://127.0.0.1:{host.moved['9402']}/control"
    token = Path(host.here("/run/secrets/api_token")).read_text()
    with httpx.Client(trust_env=False, timeout=30.0) as client:
        assert client.get(f"{gateway['url']}/readyz").json()["status"] == "ready"
        member = {
            "act": "put_member",
            "silent": True,
            "userid": "LiLei",
            "name": "李雷",
            "department": [5],
            "main_department": 5,
        }
        client.post(f"{control}/acts", json=[member]).raise_for_status()
        # what nginx does: the door's address, and who called
        client.put(
            f"{control}/callbacks/1000002", json={"url": f"{gateway['hooks_url']}/wecom"}
        ).raise_for_status()
        client.post(f"{control}/act", json={
            "act": "add_contact", "userid": "LiLei", "external_userid": "wmCompose1", "name": "何琳",
            "remark_corp_name": "云帆示例科技（深圳）有限公司",
        }).raise_for_status()  # fmt: skip
        api = {"Authorization": f"Bearer {token}"}

        def came() -> Any:
            listed = client.get(f"{console['url']}/api/v1/contacts", headers=api).raise_for_status().json()
            return next(
                (one for one in listed["items"] if "何琳" in json.dumps(one, ensure_ascii=False)), None
            )

        until(came, "the person whose callback came is in the CRM")
        customer = {"name": "示例组合有限公司", "uscc": "91350100M000100Y43", "entity": "demo"}
        there = f"{console['url']}/api/v1/customers/by-external/crm/C-1"
        client.put(there, json=customer, headers=api).raise_for_status()
        k3 = f"http://127.0.0.1:{host.moved['9401']}/control/objects/BD_Customer"
        until(lambda: re.search("示例组合有限公司", client.get(k3).text), "the customer is in Kingdee")
    for name in ("gateway", "worker", "console"):
        for process in host.running[name]:
            process.terminate()
        for process in host.running[name]:
            assert process.wait(60) == 0, name
