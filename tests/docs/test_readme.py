"""Every command of the READMEs is run, in their order; what serves or lasts long is run in a bounded form.

A README is played in a copy of the project, beside a demo that serves: blocks of YAML that name a file are written
there, and every line of a ``sh`` block must have a rule below that runs it and judges it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from connectors.kingdee.sandbox import KingdeeSandbox
from connectors.wecom.sandbox import WeComSandbox
from hub import registry
from hub.cli.app import build
from hub.project.load import load_project
from hub.sdk.sandbox import Sandbox, running
from hub.settings import load_settings
from hub.wiring import open_hub

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "README.zh-CN.md")
BLOCK = re.compile(r"^( *)```(sh|yaml|text)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INTO_HUB = "# in hub.yaml\n"
REAL = "https://erp.example.com/k3cloud/"
REAL_CORP = "ww0a1b2c3d4e5f6071"
SANDBOXES: dict[str, type[Sandbox]] = {"k3": KingdeeSandbox, "wecom": WeComSandbox}
PORTS = {"k3": 9401, "wecom": 9402}

Done = subprocess.CompletedProcess[str]


def blocks(page: str) -> list[tuple[str, str]]:
    """Return (language, text) of each fenced block in order."""
    found = BLOCK.findall((ROOT / page).read_text("utf-8"))
    return [(language, textwrap.dedent(text)) for _, language, text in found]


def commands(page: str) -> list[str]:
    """Return every command in order, without its remark."""
    lines = [line for language, text in blocks(page) if language == "sh" for line in text.splitlines()]
    return [re.sub(r" +# .*$", "", line) for line in lines]


@dataclass
class Place:
    """A copy of the project with a demo that serves; ``told`` is what the demo said of itself.

    ``sites``: sandboxes that stand in for real vendors, by connection; ``ids``: what a reader would have copied by now.
    """

    folder: Path
    told: dict[str, Any]
    sites: dict[str, str]
    real: bool = False
    ids: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, *, answer: str | None = None, code: int | None = 0) -> Done:
        """Run a command of a README in the copy, with this Python's hub and the ports the demo took.

        ``code``: what it must end with, None: anything.
        """
        text = command.replace("http://127.0.0.1:8080", self.told["api"].removesuffix("/docs"))
        for name, port in PORTS.items():
            there = self.told[f"{name}_control"].removesuffix("/control/docs")
            text = text.replace(f"http://127.0.0.1:{port}", there)
        for word, id_ in self.ids.items():
            text = text.replace(f" {word} ", f" {id_} ")
        done = self._hub(text, answer) if text.startswith("hub ") else self._shell(text)
        assert code in (None, done.returncode), f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def _hub(self, text: str, answer: str | None) -> Done:
        """Run a command of the hub in this process: the demo it looks at is another one."""
        with contextlib.chdir(self.folder):
            told = CliRunner().invoke(build("en"), shlex.split(text)[1:], input=answer)
        assert isinstance(told.exception, SystemExit | None), told.exception
        return subprocess.CompletedProcess([text], told.exit_code, told.stdout, told.stderr)

    def _shell(self, text: str) -> Done:
        return subprocess.run(
            ["bash", "-c", re.sub(r"^python\b", sys.executable, text)], cwd=self.folder, capture_output=True, text=True,
            env={**os.environ, "TOKEN": self.told["token"]}, timeout=120, check=False,
        )  # fmt: skip


# one rule per command ------------------------------------------------------------------------------------------


def recipe(program: str) -> Callable[[Place, str], None]:
    """Read what make would do: these are run by this suite's other tests, or last too long for it."""

    def rule(place: Place, command: str) -> None:
        told = subprocess.run(
            ["make", "-n", command.split()[1]], cwd=ROOT, capture_output=True, text=True, check=True
        )
        line = next(
            line for line in told.stdout.splitlines() if line.startswith(".venv/bin/") and "pip" not in line
        )
        assert line.startswith(program)
        module = re.search(r"-m (\S+)", program)
        assert module is None or importlib.util.find_spec(module[1]) is not None

    return rule


def runs(*words: str, code: int = 0) -> Callable[[Place, str], None]:
    """Run it and look for words in what it prints."""

    def rule(place: Place, command: str) -> None:
        done = place.run(command, code=code)
        assert all(word in done.stdout for word in words), done.stdout

    return rule


def demo_once(place: Place, command: str) -> None:
    """Run by tests/flows/test_demo.py; what serves here is the same day."""
    assert place.told["ok"]
    assert {"ok", "checks", "seconds"} <= place.told.keys()


def demo_on_kafka(place: Place, command: str) -> None:
    """Run by tests/flows/test_demo.py, where a Kafka and a PostgreSQL can be had."""
    assert "def test_the_same_day_on_kafka_and_postgresql" in (ROOT / "tests/flows/test_demo.py").read_text(
        "utf-8"
    )
    assert "--engine" in place.run("hub demo --help").stdout


def dead_letters(place: Place, command: str) -> None:
    shown = place.run(command).stdout
    for word, about in {"ID": "PAY-5", "WHO": r"wecom\.follow\.in"}.items():
        letter = re.search(rf"^([0-9a-f]{{32}}) .*{about}", shown, re.MULTILINE)
        assert letter, shown
        place.ids[word] = letter[1]


def candidate(place: Place, command: str) -> None:
    shown = place.run(command).stdout
    named = re.search(rf"hub dlq choose {place.ids['WHO']} ([0-9a-f]{{32}})", shown)
    assert named, shown
    assert "云帆示例科技（深圳）有限公司" in shown
    place.ids["CUSTOMER"] = named[1]


def booked(place: Place, command: str) -> None:
    """The edit is carried out by the demo's own process: look until it was."""
    assert any("nothing is owed" in place.run(command).stdout for _ in range(60))


def came_in(place: Place, command: str) -> None:
    """A callback, or an answer, is carried out by the demo's own process: look until the person has its customer."""
    assert any(_is_tied(place.run(f"{command} --output json", code=None)) for _ in range(60)), command


def _is_tied(trace: Done) -> bool:
    if trace.returncode != 0:
        return False
    told = json.loads(trace.stdout)
    changed = {name for hop in told["hops"] for name in hop["known"].get("fields", ())}
    return "customer" in changed and not told["owed"]


def sent(place: Place, command: str) -> None:
    if shutil.which("curl") is None:
        if os.environ.get("CI"):
            pytest.fail("no curl on this machine: CI must run the README's API call")
        pytest.skip("no curl here: the README's API call was not run")
    told = json.loads(place.run(command).stdout)
    assert (told["kind"], told["version"]) == ("customer", 1)


def added(place: Place, command: str) -> None:
    told = json.loads(place.run(command).stdout)
    assert (told["userid"], told["external_userid"]) == ("LiLei", "wmMine0001")


def read_ledger(place: Place, command: str) -> None:
    assert {"api", "user"} <= {effect["by"] for effect in json.loads(place.run(command).stdout)}


def checked(place: Place, command: str) -> None:
    """The first time the value map is not there yet, and the README shows what is said then."""
    if (place.folder / "mappings/kingdee/customer_group.map.yaml").exists():
        place.run(command)
        return
    said = place.run(command, code=1)
    shown = next(
        text for language, text in blocks(PAGES[0]) if language == "text" and text.startswith("mappings/")
    )
    assert shown.strip() in said.stdout + said.stderr


def cases(place: Place, command: str) -> None:
    files = (place.folder / "mappings").rglob("*.tests.yaml")
    written = sum(len(re.findall(r"^- name: ", file.read_text("utf-8"), re.MULTILINE)) for file in files)
    assert f"{written} cases passed, 0 failed" in place.run(command).stdout


def started(place: Place) -> None:
    """The reader's hub runs with the texts as they were: here one that was started with them."""
    before = place.folder / "before"
    if not before.exists():
        before.mkdir()
        shutil.copytree(ROOT / "mappings", before / "mappings")
        shutil.copy(ROOT / "hub.yaml", before / "hub.yaml")
        settings = load_settings(project_dir=before, data_dir=place.folder / "var")
        open_hub(settings, start=True).close()


def tried(place: Place, command: str) -> None:
    """Nothing is in the store of this hub yet: the draft compiles, and stands beside what is in force."""
    started(place)
    told = place.run(command).stdout
    assert "kingdee/customer.out: the draft, beside revision 1 in force" in told
    assert "fails" not in told
    assert ('"02"' if "--case" in command else "0 records") in told


def published(place: Place, command: str) -> None:
    started(place)
    told = place.run(command)
    assert "kingdee/customer.out: revision 2 is in force" in told.stdout
    assert "kingdee.customer_group: revision 1 is in force" in told.stdout


def secret(place: Place, command: str) -> None:
    """A hidden prompt needs a terminal: the same value through --stdin."""
    name = command.split()[3]
    if not place.real:
        to_real(place)
    place.run(f"{command} --stdin", answer=_credential(name))


def _credential(name: str) -> str:
    connection, _, rest = name.partition("-")
    sandbox = SANDBOXES.get(connection)
    return "a-token" if sandbox is None else sandbox().credentials("")[rest.replace("-", "_")]


def to_real(place: Place) -> None:
    """Replace the connections as the README says, and put every sync into observe."""
    file = place.folder / "hub.yaml"
    text = file.read_text("utf-8")
    found = [
        block
        for language, block in blocks(PAGES[0])
        if language == "yaml" and block.startswith(INTO_HUB) and connects(block)
    ]
    assert len(found) == len(SANDBOXES)
    for block in found:
        name, shown = block.splitlines()[1].strip(" :"), block.removeprefix(INTO_HUB)
        (old,) = re.findall(rf"(?m)^  {name}:.*\n    connector: .*\n(?:    .*\n)*", text)
        text = text.replace(old, shown)
    file.write_text(text.replace("mode: write", "mode: observe"), "utf-8")
    place.real = True


def valid(place: Place, command: str) -> None:
    assert "3 connections, 7 syncs" in place.run(command).stdout


def reachable(place: Place, command: str) -> None:
    """There is no such site here: the same connection at a sandbox."""
    name = command.split()[2]
    file, site = place.folder / "hub.yaml", place.sites[name]
    port = site.rpartition(":")[2]
    text = file.read_text("utf-8")
    text = text.replace(REAL, f"{site}/k3cloud/")
    if name == "wecom":  # its address is a default: the README names none
        ours = WeComSandbox().credentials("")["corpid"]
        text = text.replace(f"corp_id: {REAL_CORP}", f"base_url: {site}\n      corp_id: {ours}")
    allow = f"    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]\n"
    text = re.sub(rf"(?m)^(  {name}:\n    connector: .*\n)", rf"\g<1>{allow}", text)
    file.write_text(text, "utf-8")
    assert f"the connection {name} works" in place.run(command).stdout


def up(place: Place, command: str) -> None:
    """Until it says that it is ready; then it is stopped as Ctrl-C stops it."""
    serving = subprocess.Popen(
        [sys.executable, "-P", "-m", "hub", "up"], cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "LANG": "C.UTF-8", "HUB_LISTEN_OPS": f"127.0.0.1:{_free_port()}", "HUB_LISTEN_HOOKS": "127.0.0.1:0"},
    )  # fmt: skip
    try:
        assert serving.stdout is not None
        assert "ready: http://127.0.0.1:" in serving.stdout.readline()
        serving.send_signal(signal.SIGINT)
        assert serving.wait(60) == 0
    finally:
        serving.kill()
        serving.communicate()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def secrets_made(place: Place, command: str) -> None:
    done = subprocess.run(["sh", str(ROOT / command.split()[1]), str(place.folder / "secrets")], check=False)
    assert done.returncode == 0
    assert (place.folder / "secrets" / "store_url").read_text().startswith("postgresql://")


def composed(place: Place, command: str) -> None:
    """No engine is here: tests/docs/test_deploy.py checks the file, tests/flows/test_compose.py runs its services."""
    assert (ROOT / "docker-compose.yml").exists()
    assert (ROOT / "tests/flows/test_compose.py").exists()


def installed(place: Place, command: str) -> None:
    """A test installs nothing on this machine: what the command takes from here must be here."""
    words = command.split()[2:]
    if words[0] == "enable":
        files = [
            f"deploy/systemd/{name.removesuffix('.timer')}.{'timer' if '.timer' in name else 'service'}"
            for name in words[2:]
        ]
    else:
        files = [
            word
            for word in words
            if not word.startswith(("-", "/")) and re.search(r"[./]", word) and word != "."
        ]
    for file in files:
        assert (ROOT / file).exists(), file


def notice_sent(place: Place, command: str) -> None:
    """There is no such app here: the same connection at a sandbox of DingTalk."""
    serving = subprocess.Popen(
        [sys.executable, "-P", "-m", "hub", "sandbox", "dingtalk", "--port", "0", "--output", "json"], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert serving.stdout is not None
        told = json.loads(serving.stdout.readline())
        given, file = told["credentials"], place.folder / "examples/approvals/hub.yaml"
        place.run("hub secrets set oa-app-secret --stdin", answer=given["app_secret"])
        text = file.read_text("utf-8")
        port = told["base_url"].rstrip("/").rpartition(":")[2]
        ours = f"    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]\n    settings:\n"
        for name in ("base_url", "old_url", "corp_id", "app_key", "agent_id"):
            text = re.sub(rf"(?m)^      {name}: .*\n", "", text)
            ours += f"      {name}: {given[name]}\n"
        file.write_text(text.replace("    settings:\n", ours, 1), "utf-8")
        assert "sent to zhao.liu (finance)" in place.run(command).stdout
    finally:
        serving.kill()
        serving.communicate()


_ROUTE = "hub approvals route --project examples/approvals --region cn/{} --subject contract --amount 150000 --explain"
RULES: dict[str, Callable[[Place, str], None]] = {
    "make demo": recipe(".venv/bin/hub demo"),
    "make test": recipe(".venv/bin/pytest"),
    "make check": recipe(".venv/bin/ruff check"),
    "make simulate": recipe(".venv/bin/python -m tests.simulation"),
    "make chaos": recipe(".venv/bin/python -m tests.chaos"),
    "make bench": recipe(".venv/bin/python -m benchmarks"),
    "hub demo --once --output json": demo_once,
    "hub demo --once --engine kafka --output json": demo_on_kafka,
    "hub status --project demo --data var/demo": runs("k3.payment.out", "last seal"),
    "hub trace PAY-2 --project demo --data var/demo": runs(
        "outcome unknown", "both sides agree", "nothing is owed"
    ),
    "hub trace C-1001 --values --project demo --data var/demo": runs("+8675586000009"),
    "hub trace HT-1001 --project demo --data var/demo": runs("wang.fang", "nothing is owed"),
    "hub exports --project demo --data var/demo": runs(
        "150 wait because contact.custom.email_opt_in may not leave"
    ),
    "hub dlq list --project demo --data var/demo": dead_letters,
    "hub dlq show ID --project demo --data var/demo": runs("FACCOUNTID", "ACC-009", "fix"),
    "hub dlq edit ID account_no=ACC-001 --project demo --data var/demo": runs("edited"),
    "hub trace PAY-5 --project demo --data var/demo": booked,
    "hub dlq show WHO --project demo --data var/demo": candidate,
    "hub dlq choose WHO CUSTOMER --project demo --data var/demo": runs("chosen"),
    "hub trace wmDemo0005 --project demo --data var/demo": came_in,
    "hub trace wmMine0001 --project demo --data var/demo": came_in,
    "hub trace C-2001 --project demo --data var/demo": runs("示例新客户有限公司"),
    "curl -sS http://127.0.0.1:9401/control/ledger": read_ledger,
    "curl -sS http://127.0.0.1:9402/control/ledger": read_ledger,
    "hub run k3.customer.in --project demo --data var/demo": runs("k3.customer.in"),
    "hub run wecom.follow.in --project demo --data var/demo": runs("wecom.follow.in"),
    "hub run wecom.follow.in --estimate": runs("wecom.follow.in"),
    "hub pause k3.payment.out --project demo --data var/demo": runs("is paused"),
    "hub resume k3.payment.out --project demo --data var/demo": runs("is open again"),
    "hub audit verify --project demo --data var/demo": runs("intact"),
    "python hub/audit/verify.py var/demo/flipped.db --public-key var/demo/audit.pub": runs("DAMAGED", code=1),
    "hub mapping check": checked,
    "hub mapping test": cases,
    'hub mapping preview kingdee/customer.out --case "a customer\'s level decides its group"': tried,
    "hub mapping shadow kingdee/customer.out --last 500": tried,
    'hub mapping publish kingdee/customer.out kingdee.customer_group --note "customer groups by level"': published,
    "hub mapping history kingdee/customer.out": runs("in force", "customer groups by level", "start"),
    'hub mapping rollback kingdee/customer.out --note "finance wants the old groups"': runs(
        "kingdee/customer.out: revision 3 is in force", "holds the text of revision 1 again"
    ),
    'hub mapping rollback kingdee/customer.out --note "finance wants the old groups" --repair --yes': runs(
        "kingdee/customer.out: is in force as revision 3 already", "bad revisions: kingdee/customer.out 2"
    ),
    "hub validate": valid,
    _ROUTE.format("south"): runs("south-headquarters → oa, template PROC-HEADQUARTERS", "it decides"),
    _ROUTE.format("north"): runs("north-branch → oa, template PROC-NORTH", "it decides"),
    "hub notices show --project examples/approvals": runs("zhao.liu (finance)", "by oa (DingTalk)"),
    "hub notices test --project examples/approvals --to finance --entity demo": notice_sent,
    "hub secrets set k3-app-id": secret,
    "hub secrets set k3-app-secret": secret,
    "hub secrets set api-token": secret,
    "hub secrets set wecom-secret": secret,
    "hub secrets set wecom-token": secret,
    "hub secrets set wecom-encoding-aes-key": secret,
    "hub check k3": reachable,
    "hub check wecom": reachable,
    "hub up": up,
    "hub exports": runs("no connection is foreign"),
    "hub status": runs("k3.customer.out", "observe"),
    "sh deploy/compose/make-secrets.sh": secrets_made,
    "docker compose up -d --build": composed,
    "hub backup hub-backup.zip": runs("hub-backup.zip", "key file"),
    "hub restore hub-backup.zip --force": runs("Writes are stopped"),
    "hub writes show": runs("restored from a backup", "hub writes resume"),
    "hub writes resume": runs("the running hub does it"),
    "hub bus replaced --yes": runs("this bus is the hub's now", "reads whole"),
    "hub migrate": runs("nothing to do"),
}


def rule_of(command: str) -> Callable[[Place, str], None] | None:
    calls = {"curl -sS -X PUT": sent, "curl -sS -X POST": added, "sudo ": installed}
    return next((rule for begin, rule in calls.items() if command.startswith(begin)), RULES.get(command))


# the READMEs ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def demo_in(folder: Path) -> Iterator[dict[str, Any]]:
    """A copy of the project in which a demo serves."""
    for name in ("mappings", "demo", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "hub" / "audit").mkdir(parents=True)
    shutil.copy(ROOT / "hub/audit/verify.py", folder / "hub/audit/verify.py")
    shutil.copy(ROOT / "hub.yaml", folder / "hub.yaml")
    serving = subprocess.Popen(
        [sys.executable, "-P", "-m", "hub", "demo", "--output", "json"], cwd=folder, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "LANG": "C.UTF-8"},
    )  # fmt: skip
    try:
        assert serving.stdout is not None
        told = json.loads("".join(iter(serving.stdout.readline, "}\n")) + "}")
        assert told["ok"], told
        yield told
        serving.terminate()
        assert serving.wait(60) == 0
    finally:
        serving.kill()
        serving.communicate()


def play(page: str, place: Place) -> None:
    for language, text in blocks(page):
        if language == "yaml":
            write(place, text)
        for line in text.splitlines() if language == "sh" else ():
            command = re.sub(r" +# .*$", "", line)
            rule = rule_of(command)
            assert rule is not None, f"{page}: no rule runs {command!r}"
            rule(place, command)


def connects(block: str) -> bool:
    """Say whether a block is one connection of hub.yaml; else it is sections of their own."""
    return "    connector: " in block


def _fits(folder: Path, sections: str) -> None:
    """See that a project of one Kingdee takes these sections."""
    with tempfile.TemporaryDirectory() as made:
        kingdee = next(block for language, block in blocks(PAGES[0]) if "    connector: kingdee" in block)
        text = f"version: 1\nregions: [cn]\nconnections:\n{kingdee.removeprefix(INTO_HUB)}{sections}"
        (Path(made) / "hub.yaml").write_text(text, "utf-8")
        shutil.copytree(folder / "mappings", Path(made) / "mappings")
        load_project(Path(made), registry.specs())


def write(place: Place, text: str) -> None:
    """Write a block of YAML where its first line says; the connection of a real site waits for its secrets."""
    first, _, body = text.partition("\n")
    how = re.fullmatch(r"# (into |onto |in )?(\S+\.yaml)", first)
    assert how, f"a block of YAML does not say its file: {first}"
    file = place.folder / how[2]
    match how[1]:
        case None:
            file.write_text(body, "utf-8")
        case "onto ":
            file.write_text(file.read_text("utf-8") + body, "utf-8")
        case "into ":
            before = "  FTRADINGCURRID.FNumber"
            file.write_text(file.read_text("utf-8").replace(before, body + before, 1), "utf-8")
        case _ if not connects(body):
            _fits(place.folder, body)


@pytest.mark.slow
async def test_every_command_of_the_readme_is_run(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        sites = {name: await stack.enter_async_context(running(made())) for name, made in SANDBOXES.items()}
        await asyncio.to_thread(_play_all, tmp_path, sites)


def _play_all(folder: Path, sites: dict[str, str]) -> None:
    with demo_in(folder) as told:
        place = Place(folder, told, sites)
        play(PAGES[0], place)
        assert place.real
        assert place.ids.keys() == {"ID", "WHO", "CUSTOMER"}


def test_both_languages_show_the_same_commands_and_files() -> None:
    assert commands(PAGES[0]) == commands(PAGES[1])
    yaml = [[text for language, text in blocks(page) if language == "yaml"] for page in PAGES]
    assert yaml[0] == yaml[1]


def test_no_rule_is_left_without_a_command() -> None:
    assert set(RULES) <= set(commands(PAGES[0]))


@pytest.mark.parametrize("page", PAGES)
def test_a_test_that_a_promise_names_is_there(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / page).read_text("utf-8")))
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }
    assert named
    assert named <= there


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    anchors = {
        re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-")
        for head in re.findall(r"^## (.+)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        assert (ROOT / file).exists() if file else anchor in anchors, target


@pytest.mark.parametrize(("page", "lang"), [("README.md", "en"), ("README.zh-CN.md", "zh")])
def test_what_the_readme_shows_is_what_the_demo_says(page: str, lang: str) -> None:
    """The output that is pasted there has the titles of the scenes, word for word."""
    from hub.demo import STORY

    titles = {
        f"{number:>2}/{len(STORY)}  {getattr(step, lang)}" for number, step in enumerate(STORY, start=1)
    }
    shown = re.findall(r"^ ?(\d+/\d+  .+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert shown
    assert {f"{one.partition('/')[0]:>2}/{one.partition('/')[2]}" for one in shown} <= titles
