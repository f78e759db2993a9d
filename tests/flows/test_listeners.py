"""Two listeners of one process: vendors reach the doors and nothing else, our own systems the API and no door."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest

from hub.api.serve import serve
from hub.errors import SettingsError
from hub.settings import Settings, load_settings
from hub.wiring import open_hub

HUB_YAML = """\
version: 1
regions: [cn]
connections:
  crm: {connector: api, region: cn}
"""
OPS = ("/healthz", "/readyz", "/docs", "/openapi.json", "/api/v1/customers", "/")


def settings(folder: Path, **known: object) -> Settings:
    project = folder / "project"
    project.mkdir()
    (project / "mappings").mkdir()
    (project / "hub.yaml").write_text(HUB_YAML, "utf-8")
    return load_settings(
        data_dir=folder / "var",
        project_dir=project,
        listen_ops="127.0.0.1:0",
        listen_hooks="127.0.0.1:0",
        **known,
    )


async def test_no_door_on_the_listener_of_the_api_and_no_api_on_that_of_the_doors(tmp_path: Path) -> None:
    hub = open_hub(settings(tmp_path), start=True)
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, ready=ready, stop=stop))
    try:
        await asyncio.wait(
            {serving, asyncio.ensure_future(ready.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        assert hub.listening.keys() == {"ops", "hooks"}
        async with httpx.AsyncClient(trust_env=False) as client:
            for path in OPS:
                answer = await client.get(hub.listening["hooks"] + path)
                assert answer.status_code == 404, path
                assert answer.json()["type"] == "urn:hub:problem:not-found"
            for path in ("/hooks/crm", "/hooks/", "/hooks"):
                assert (await client.post(hub.listening["ops"] + path, content=b"")).status_code == 404
            assert (await client.get(hub.listening["ops"] + "/healthz")).status_code == 200
            assert (await client.post(hub.listening["hooks"] + "/hooks/crm", content=b"")).status_code == 404
    finally:
        stop.set()
        await serving
        await hub.aclose()


async def test_the_api_too_cuts_a_caller_that_sends_nothing(tmp_path: Path) -> None:
    hub = open_hub(settings(tmp_path, request_head_seconds=0.1), start=True)
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, ready=ready, stop=stop))
    try:
        await ready.wait()
        for url in hub.listening.values():
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"GET /healthz HTTP/1.1\r\nHo")
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.transport.abort()
    finally:
        stop.set()
        await serving
        await hub.aclose()


@pytest.mark.parametrize("proxies", ["*", "proxy.internal", "10.0.0.0/33", "10.0.0.1;10.0.0.2"])
def test_a_proxy_is_named_by_its_address(tmp_path: Path, proxies: str) -> None:
    with pytest.raises(SettingsError, match="HUB_TRUSTED_PROXIES"):
        settings(tmp_path, trusted_proxies=proxies)
