"""A hub that is told to keep acts for some days archives what is older by itself, and its trail stays whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.api.serve import serve
from hub.audit.archive import files
from hub.cli.app import build
from hub.clock import SystemClock
from hub.pipe.archiving import DAY
from hub.settings import Settings, load_settings
from hub.wiring import Hub, open_hub
from tests.stores import ask

pytestmark = pytest.mark.slow

HUB_YAML = """\
version: 1
regions: [cn]
connections:
  crm: {connector: api, region: cn}
"""
PATIENCE = 60


class Earlier(SystemClock):
    """The clock of ten days ago."""

    def now(self) -> int:
        return super().now() - 10 * DAY


def settings(folder: Path) -> Settings:
    return load_settings(
        data_dir=folder / "var",
        project_dir=folder,
        listen_ops="127.0.0.1:0",
        listen_hooks="127.0.0.1:0",
        audit_keep_days=7,
    )


async def served(folder: Path, clock: SystemClock, done: Callable[[Hub], bool]) -> None:
    """Run the hub until it is done."""
    hub = open_hub(settings(folder), clock=clock, start=True)
    stop = asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, stop=stop))
    try:
        for _ in range(PATIENCE * 20):
            if done(hub) or serving.done():
                break
            await asyncio.sleep(0.05)
        assert done(hub)
    finally:
        stop.set()
        await serving
        await hub.aclose()


async def test_a_hub_archives_by_itself_what_is_older_than_it_is_told_to_keep(tmp_path: Path) -> None:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "hub.yaml").write_text(HUB_YAML, "utf-8")
    text = "SELECT count(*) FROM jobs WHERE name = 'publish' AND position <> '{\"seq\":0}'"
    await served(tmp_path, Earlier(), lambda hub: hub.store.read_now(ask, text)[0][0] == 1)
    folder = tmp_path / "var" / "audit-archive"
    assert files(folder) == []

    def archived(hub: Hub) -> bool:
        return bool(files(folder)) and hub.store.read_now(ask, "SELECT min(seq) FROM acts")[0][0] > 1

    await served(tmp_path, SystemClock(), archived)

    def verified() -> str:
        where = ["--project", str(tmp_path), "--data", str(tmp_path / "var")]
        return CliRunner().invoke(build("en"), [*where, "audit", "verify", "--output", "json"]).stdout

    told = json.loads(await asyncio.to_thread(verified))
    assert (told["ok"], told["first"]) == (True, 1)
