"""What a person learns of bad requests: few lines, however many came, and what `hub status` shows of them."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from hub.api.serve import UVICORN, doors, news_keeper, serve
from hub.cli.app import build
from hub.settings import load_settings
from hub.wiring import Hub, open_hub
from tests.hook_site import App, asked, event

APP = App()
PROJECT = f"""\
version: 1
regions: [cn]
connections:
  wecom:
    connector: wecom
    region: cn
    settings:
      corp_id: {APP.corp}
      agent_id: 1000002
      secret: ${{env:WECOM_TEST_SECRET}}
      token: ${{env:WECOM_TEST_TOKEN}}
      encoding_aes_key: ${{env:WECOM_TEST_KEY}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a project with one WeCom connection, and a server's log that nobody has calmed yet."""
    (tmp_path / "mappings").mkdir()
    (tmp_path / "hub.yaml").write_text(PROJECT, "utf-8")
    known = {"SECRET": "s" * 43, "TOKEN": APP.token, "KEY": APP.aes_key}
    for name, value in known.items():
        monkeypatch.setenv(f"WECOM_TEST_{name}", value)
    monkeypatch.setattr(logging.getLogger(UVICORN), "filters", [])
    return tmp_path


def opened(folder: Path) -> Hub:
    settings = load_settings(
        data_dir=folder / "var", project_dir=folder, listen_ops="127.0.0.1:0", listen_hooks="127.0.0.1:0"
    )
    return open_hub(settings, start=True)


def nonsense(url: str) -> None:
    """Send what is no HTTP and wait for the end of the answer."""
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10) as caller:
        caller.sendall(b"\x16\x03\x01 this is no request\r\n\r\n")
        while caller.recv(4096):
            pass


async def test_a_flood_of_what_is_no_http_is_one_warning_of_the_server(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub = opened(folder)
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, ready=ready, stop=stop))
    try:
        await ready.wait()
        for _ in range(15):
            for url in hub.listening.values():
                await asyncio.to_thread(nonsense, url)
        said = [one.getMessage() for one in caplog.records if one.name == UVICORN]
        assert [text for text in said if "Invalid HTTP" in text] == ["Invalid HTTP request received."]
    finally:
        stop.set()
        await serving
        await hub.aclose()


async def test_status_shows_refused_callbacks_and_an_app_that_was_closed(folder: Path) -> None:
    hub = opened(folder)
    front = doors(hub)
    keep = news_keeper(hub, front)
    now = hub.clock.now() // 1_000_000
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=front), base_url="http://hub") as client:

        async def call(app: App, message: bytes) -> int:
            encrypted = app.sealed(message)
            query = app.signed(encrypted, at=str(now))
            body = f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()
            return (await client.post(f"/hooks/wecom{asked(query)}", content=body)).status_code

        assert await call(App(token="MistypedToken1"), event()) == 401
        assert await call(App(token="MistypedToken1"), event()) == 401
        assert await call(APP, event("", Event="close_inactive_agent")) == 200
    await keep()
    await keep()  # nothing new: nothing is added
    await hub.aclose()

    def shown(lang: str, *options: str) -> str:
        where = ["--project", str(folder), "--data", str(folder / "var"), "--lang", lang]
        result = CliRunner().invoke(build(lang), [*where, "status", *options], env={"COLUMNS": "300"})
        assert result.exit_code == 0, result.output
        return result.stdout.replace("\n", " ")

    (wecom,) = json.loads(await asyncio.to_thread(shown, "en", "--output", "json"))["connections"]
    assert wecom["door"]["refused"] == 2
    assert wecom["door"]["last_refused"]["cause"] == "signature"
    assert [one["about"] for one in wecom["door"]["health"]] == ["app"]
    english, chinese = await asyncio.to_thread(shown, "en"), await asyncio.to_thread(shown, "zh")
    assert all(words in english for words in ("2 callbacks refused", "compare token", "reopen it"))
    assert all(words in chinese for words in ("拒绝了 2 个回调", "重新启用"))
    assert APP.token not in english


async def test_a_store_that_is_away_keeps_no_door_from_answering(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = opened(folder)
    front = doors(hub)
    front.counts["wecom"].refuse("signature", "why", 0)

    async def away(*_: object) -> None:
        raise ConnectionError("away")

    with monkeypatch.context() as patched:
        patched.setattr(hub.store, "run", away)
        await news_keeper(hub, front)()
    await hub.aclose()
