"""The hub as it is served, on real sockets, with tokens of several scopes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from hub.access.tokens import TokenSpec, create_token
from hub.api.serve import serve
from hub.settings import load_settings
from hub.wiring import Hub, open_hub

HUB_YAML = """\
version: 1
regions: [g, g/s, g/s/shenzhen, g/sc, g/north]
owners:
  li.lei: {region: g/s}
  wu.di: {region: g/s/shenzhen}
  han.mei: {region: g/sc}
entities:
  demo: {title: 示例}
  other: {title: 另一家}
connections:
  south: {connector: api, region: g/s, entity: demo}
  sichuan: {connector: api, region: g/sc, entity: demo}
"""


@dataclass
class Served:
    """A served hub. ``url``: of its API."""

    hub: Hub
    url: str

    def token(self, name: str, *roles: str, regions: Sequence[str] = (), **known: object) -> str:
        """Make a token and return it."""
        spec = TokenSpec(name, roles, "subtree" if regions else "all", regions, **known)  # type: ignore[arg-type]
        return self.hub.store.run_now(create_token, self.hub.vault, spec, by="user:test")

    async def ask(
        self, method: str, path: str, token: str | None = None, *, json: object = None, **headers: str
    ) -> httpx.Response:
        """Send one request on a connection of its own."""
        given = {} if token is None else {"authorization": f"Bearer {token}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(trust_env=False, base_url=self.url) as client:
            return await client.request(method, path, json=json, headers=given)


@asynccontextmanager
async def served(folder: Path, **settings: object) -> AsyncIterator[Served]:
    """Serve a hub with the project above until the test ends."""
    project = folder / "project"
    (project / "mappings").mkdir(parents=True)
    (project / "hub.yaml").write_text(HUB_YAML, "utf-8")
    known = {"listen_ops": "127.0.0.1:0", "listen_hooks": "127.0.0.1:0", **settings}
    hub = open_hub(load_settings(data_dir=folder / "var", project_dir=project, **known), start=True)
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, ready=ready, stop=stop))
    try:
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        url = hub.listening["ops"].replace("0.0.0.0", "127.0.0.1")
        yield Served(hub, url)
    finally:
        stop.set()
        await serving
        await hub.aclose()


__all__ = ["HUB_YAML", "Served", "served"]
