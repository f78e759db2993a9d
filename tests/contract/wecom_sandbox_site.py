"""A running WeCom stand-in, a small client of it, and a receiver of its callbacks.

Opening an envelope is written here again, from the fact sheet, independent of the sandbox and of the connector.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from connectors.wecom.sandbox import WeComSandbox
from hub.sdk.sandbox import running

CUSTOMER = "externalcontact/"
Body = dict[str, Any]


class Site:
    """One running sandbox, a token of its app, and words for what tests do with it."""

    def __init__(self, box: WeComSandbox, url: str, http: httpx.AsyncClient) -> None:
        self.box, self.http = box, http
        self.given = dict(box.credentials(url))
        self.token = ""
        self.receiver = Inbox(self.given)
        box.callbacks.transport = httpx.MockTransport(self.receiver.answer)

    async def gettoken(self, *, corpid: str = "", secret: str = "") -> Body:
        query = {"corpid": corpid or self.given["corpid"], "corpsecret": secret or self.given["secret"]}
        return dict((await self.http.get("/cgi-bin/gettoken", params=query)).json())

    async def login(self, secret: str = "") -> str:
        self.token = str((await self.gettoken(secret=secret))["access_token"])
        return self.token

    async def get(self, api: str, **query: Any) -> Body:
        answer = await self.http.get(f"/cgi-bin/{api}", params={"access_token": self.token, **query})
        assert answer.status_code == 200
        return dict(answer.json())

    async def post(self, api: str, **body: Any) -> Body:
        answer = await self.http.post(f"/cgi-bin/{api}", params={"access_token": self.token}, json=body)
        assert answer.status_code == 200
        return dict(answer.json())

    async def control(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = await self.http.request(method, f"/control{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def act(self, act: str, **more: Any) -> Body:
        return dict(await self.control("POST", "/act", {"act": act, **more}))

    async def add(self, userid: str = "zhangsan", **more: Any) -> str:
        return str((await self.act("add_contact", userid=userid, **more))["external_userid"])

    async def dials(self, **change: Any) -> None:
        await self.control("PATCH", "/dials", change)

    async def advance(self, seconds: float) -> None:
        await self.control("POST", "/clock", {"advance_seconds": seconds})

    async def listen(self) -> None:
        await self.control(
            "PUT", f"/callbacks/{self.given['agentid']}", {"url": "http://receiver.example/hooks"}
        )

    async def flush(self) -> Body:
        return dict(await self.control("POST", "/callbacks/flush"))

    async def all_rows(self, userids: list[str], limit: int = 2) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        cursor, pages = "", 0
        while pages < 500:
            page = await self.post(
                f"{CUSTOMER}batch/get_by_user", userid_list=userids, limit=limit, cursor=cursor
            )
            assert page["errcode"] == 0, page
            rows += [
                (row["follow_info"]["userid"], row["external_contact"]["external_userid"])
                for row in page["external_contact_list"]
            ]
            pages, cursor = pages + 1, page["next_cursor"]
            if not cursor:
                return rows
        raise AssertionError("the listing never ends")


class Inbox:
    """Receives callbacks: checks and opens them; ``replies`` are the next statuses (0: never answers)."""

    def __init__(self, given: Body) -> None:
        self.given = given
        self.replies: list[int] = []
        self.echo = lambda text: text
        self.plain: list[str] = []
        self.queries: list[Body] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        if request.method == "GET":
            return httpx.Response(200, content=self.echo(self.open(query, query["echostr"])))
        found = re.search(r"<Encrypt><!\[CDATA\[(.*?)\]\]></Encrypt>", request.content.decode())
        assert found is not None
        self.queries.append(query)
        status = self.replies.pop(0) if self.replies else 200
        if not status:
            await asyncio.Event().wait()
        if status == 200:
            self.plain.append(self.open(query, found[1]).decode())
        return httpx.Response(status)

    def open(self, query: Body, encrypt: str) -> bytes:
        parts = sorted([self.given["token"], query["timestamp"], query["nonce"], encrypt])
        assert hashlib.sha1("".join(parts).encode()).hexdigest() == query["msg_signature"]
        key = base64.b64decode(self.given["encoding_aes_key"] + "=")
        decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
        plain = decryptor.update(base64.b64decode(encrypt)) + decryptor.finalize()
        plain = plain[16 : -plain[-1]]
        size = int.from_bytes(plain[:4], "big")
        assert plain[4 + size :].decode() == self.given["corpid"]
        return plain[4 : 4 + size]

    def changes(self) -> list[str]:
        return [field(one, "ChangeType") for one in self.plain]


def field(plain: str, name: str) -> str:
    """Return an element's text, "" when it is absent."""
    found = re.search(rf"<{name}>(?:<!\[CDATA\[)?(.*?)(?:\]\]>)?</{name}>", plain)
    return found[1] if found else ""


@contextlib.asynccontextmanager
async def open_site() -> AsyncIterator[Site]:
    box = WeComSandbox()
    async with running(box) as url, httpx.AsyncClient(base_url=url) as http:
        one = Site(box, url, http)
        await one.login()
        yield one
