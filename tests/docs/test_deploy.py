"""What a deployment is made of, without a container engine: schema, paths, users, commands, settings, proxy."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from hub.cli.app import build
from hub.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
SETTINGS = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}


def compose() -> dict[str, Any]:
    return YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text("utf-8"))


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def is_command(words: list[str]) -> bool:
    """Say whether the hub's command line takes these words: verbs, options, arguments."""
    command: Any = get_command(build("en"))
    context = command.make_context("hub", list(words), resilient_parsing=False)
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, context._protected_args + context.args)
        context = command.make_context(name, rest, parent=context)
    return not context.args


# the image ----------------------------------------------------------------------------------------------------


def test_every_path_the_image_copies_is_there_and_reaches_the_builder() -> None:
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    kept = {line[1:] for line in ignore if line.startswith("!")}
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    names = {name for names in copied for name in names}
    assert names
    for name in names:
        assert (ROOT / name).exists(), name
        assert ignore[0] == "*"
        assert any(fnmatch.fnmatch(name, one) for one in kept), f"{name} is left out by .dockerignore"


def test_the_image_is_built_in_stages_is_pinned_and_runs_without_root() -> None:
    found = instructions()
    stages = [rest for word, rest in found if word == "FROM"]
    assert len(stages) == 2
    assert all(re.fullmatch(r"python:\$\{PYTHON\}-slim-\w+( AS build)?", one) for one in stages)
    installs = [rest for word, rest in found if word == "RUN" and " install " in rest and "pip" in rest]
    assert installs
    assert all("-c constraints.txt" in one for one in installs)
    last = max(at for at, (word, _) in enumerate(found) if word == "FROM")
    users = [rest for word, rest in found[last:] if word == "USER"]
    assert users[-1].split(":")[0] not in ("root", "0")
    made = next(rest for word, rest in found[last:] if word == "RUN" and "useradd" in rest)
    assert f"--uid {users[-1].split(':')[0]}" in made


def test_what_the_image_runs_is_an_entry_of_the_package_and_its_settings_exist() -> None:
    found = dict(instructions())
    entry, command = json.loads(found["ENTRYPOINT"]), json.loads(found["CMD"])
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert entry[0] in scripts
    assert is_command(command)
    named = set(re.findall(r"(HUB_\w+)=", found["ENV"]))
    assert named
    assert named <= SETTINGS


# compose ------------------------------------------------------------------------------------------------------


def test_the_compose_file_fits_the_compose_specification() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_compose_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    text = (
        (ROOT / "docker-compose.yml")
        .read_text("utf-8")
        .replace("  worker:\n", "  worker:\n    comand: [up]\n")
    )
    (tmp_path / "docker-compose.yml").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "comand" in done.stdout + done.stderr


def test_everything_a_service_names_is_defined() -> None:
    told = compose()
    for name, service in told["services"].items():
        assert set(service.get("secrets", ())) <= set(told["secrets"]), name
        assert set(service.get("networks", ())) <= set(told["networks"]), name
        assert set(service.get("depends_on", ())) <= set(told["services"]), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in told["volumes"], volume
    used = {one for service in told["services"].values() for one in service.get("secrets", ())}
    assert used == set(told["secrets"])


def test_every_service_of_the_issue_is_there_and_looked_after() -> None:
    services = compose()["services"]
    assert {"postgres", "kafka", "gateway", "worker", "nginx", "kingdee", "wecom"} <= set(services)
    assert services["worker"]["deploy"]["replicas"] == 2
    waits = {"setup"}  # ends by itself
    built = {name for name, one in services.items() if one.get("build")}  # the image has its own check
    for name, service in services.items():
        assert name in waits or name in built or "healthcheck" in service, name
        for one, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if one in waits else "service_healthy"
            assert how["condition"] == expected, (name, one)
    inside = {name for name, one in services.items() if not one.get("ports")}
    assert {"postgres", "kafka", "gateway", "worker"} <= inside  # nobody outside reaches them


def test_no_secret_stands_in_the_compose_file_and_files_are_made_for_all() -> None:
    told = compose()
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert not re.search(r"(PASSWORD|SECRET|TOKEN)\w*: (?!/run/secrets/)\S", text)
    script = (ROOT / "deploy/compose/make-secrets.sh").read_text("utf-8")
    for name, secret in told["secrets"].items():
        assert secret["file"] == f"./deploy/secrets/{name}"
        assert re.search(rf"keep {name} |-out {name}\b|-keyout {name}\b", script), name
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


def test_each_hub_service_runs_a_command_that_exists_with_settings_that_exist() -> None:
    for name, service in compose()["services"].items():
        if service["image"] != "integration-hub":
            continue
        if name == "setup":
            assert service["entrypoint"] == ["sh", "/etc/hub/setup.sh"]
        else:
            assert is_command(service["command"]), service["command"]
        assert {key for key in service.get("environment", {}) if key.startswith(PREFIX)} <= SETTINGS


def test_the_compose_project_is_the_demo_s_with_the_sandboxes_where_the_containers_are() -> None:
    text = (ROOT / "hub.yaml").read_text("utf-8")
    for name, port in (("kingdee", 9401), ("wecom", 9402)):
        text = text.replace(f"http://127.0.0.1:{port}", f"http://{name}:{port}")
        text = text.replace(f"host: 127.0.0.1, port: {port}", f"host: {name}, port: {port}")
    there = (ROOT / "deploy/compose/hub.yaml").read_text("utf-8")
    assert there.partition("version: 1\n")[2] == text.partition("version: 1\n")[2]


# nginx --------------------------------------------------------------------------------------------------------


def blocks(text: str) -> list[tuple[list[str], str]]:
    """Return (path of blocks, directive) of an nginx configuration."""
    found: list[tuple[list[str], str]] = []
    path: list[str] = []
    for token in re.findall(r"[^;{}]+[;{]|\}", re.sub(r"#.*", "", text)):
        if token == "}":
            path.pop()
        elif token.endswith("{"):
            path.append(" ".join(token[:-1].split()))
        else:
            found.append((list(path), " ".join(token[:-1].split())))
    assert path == [], "a block is not closed"
    return found


def test_the_proxy_passes_on_the_doors_alone_and_says_who_called() -> None:
    found = blocks((ROOT / "deploy/nginx.conf").read_text("utf-8"))
    passing = [path for path, one in found if one.startswith("proxy_pass ")]
    assert [path[-1] for path in passing] == ["location /hooks/", "location /files/"]
    upstream = [one for path, one in found if path[-1:] == ["upstream gateway"]]
    environment = compose()["services"]["gateway"]["environment"]
    assert f"server gateway:{environment['HUB_LISTEN_HOOKS'].rpartition(':')[2]}" in upstream
    for place in ("location /hooks/", "location /files/"):
        door = [one for path, one in found if path[-1:] == [place]]
        assert (
            "proxy_set_header X-Forwarded-For $remote_addr" in door
        )  # not $proxy_add_…: what a caller claims is dropped
        assert "proxy_next_upstream off" in door
    subnet = compose()["networks"]["inside"]["ipam"]["config"][0]["subnet"]
    assert environment["HUB_TRUSTED_PROXIES"] == subnet
    listens = [one.split()[1] for path, one in found if one.startswith("listen ")]
    assert [f"{port}:{port}" for port in listens] == compose()["services"]["nginx"]["ports"]
    files = {one.split()[1] for _, one in found if one.startswith("ssl_certificate")}
    assert files == {f"/run/secrets/{name}" for name in compose()["services"]["nginx"]["secrets"]}


# systemd ------------------------------------------------------------------------------------------------------


def unit(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        name, has, value = line.partition("=")
        if has and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def _plain(line: str) -> list[str]:
    """Return the words of a command, also of one that a shell starts."""
    words = shlex.split(line)
    if words[0] == "/bin/sh":
        return shlex.split(re.sub(r"\$\([^)]*\)", "now", words[2]).removeprefix("exec "))
    return words


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_commands_that_exist_without_root(path: Path) -> None:
    told = unit(path)
    assert told["User"] == ["hub"]
    assert told["NoNewPrivileges"] == ["yes"]
    started = [*told.get("ExecStartPre", []), *told["ExecStart"]]
    for words in map(_plain, started):
        assert words[0] == "/opt/hub/bin/hub"
        for role in ("gateway", "worker", "console") if "%i" in words else ("",):
            assert is_command([role if word == "%i" else word for word in words[1:]]), words
    for line in told.get("Environment", []):
        assert set(re.findall(r"(HUB_\w+)=", line)) <= SETTINGS


def test_the_unit_migrates_before_it_starts_and_starts_again_when_it_ends() -> None:
    told = unit(ROOT / "deploy/systemd/hub.service")
    assert told["ExecStartPre"] == ["/opt/hub/bin/hub migrate"]
    assert told["ExecStart"] == ["/opt/hub/bin/hub up"]
    assert told["Restart"] == ["always"]
    (state,) = told["StateDirectory"]
    (environment,) = told["Environment"]
    assert (
        f"HUB_DATA_DIR=/var/lib/{state}/data" in environment
    )  # the seal head lies beside it and may be written
    timer = unit(ROOT / "deploy/systemd/hub-backup.timer")
    assert timer["OnCalendar"]
