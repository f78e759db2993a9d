"""The doors ``/files/{link}``: an approver's phone opens a contract's PDF.

The file stays with the CRM that owns it. A link (:mod:`hub.pipe.file_links`) names an approval and one of its files; the
hub fetches it from the CRM under the address rules of hub.yaml (``files:``) and shows it, if it is a PDF or a picture by
its first bytes. Phones ask for parts (Range) and for the head alone. What was fetched is kept for a minute, so that the
parts of one look are one call to the CRM. Whatever cannot be shown is a page that says in two languages what to do.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hub.clock import SECOND, Clock
from hub.crm.query import get
from hub.errors import HubError
from hub.model.record import Scope
from hub.pipe.file_links import DAY, FILES_PATH, FileLink, file_digest, read_link
from hub.project.files import ATTACHMENTS, LARGEST_FILE, Files
from hub.sdk.http import HttpClient
from hub.store.secrets import get_secret

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.store.tx import Tx
    from hub.vault import Vault
    from hub.wiring import Hub

__all__ = ["FileDoor", "Front"]

Header = tuple[bytes, bytes]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]

AT_ONCE: Final = 4
"""Files fetched at the same time: each may hold :data:`LARGEST_FILE` in memory."""
KEPT_SECONDS: Final = 60.0
KEPT_BYTES: Final = 64 << 20
FETCH_SECONDS: Final = 20.0
_TYPES: Final = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
)
"""First bytes -> media type: what a phone shows by itself and what runs no script."""
_RANGE: Final = re.compile(r"bytes=(\d{0,12})-(\d{0,12})", re.ASCII)
_ENDED: Final = frozenset({"approved", "rejected", "withdrawn", "terminated", "revoked"})
_BOTH: Final = (
    (b"cache-control", b"private, no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex"),
)


@dataclass(frozen=True, slots=True)
class _Page:
    """Why there is no file, for a person with a phone in his hand."""

    status: int
    cause: str
    zh: str
    en: str


_UNKNOWN: Final = _Page(
    404,
    "unknown",
    "链接无效：请从审批单中重新打开。",
    "This link leads nowhere: open it again from the approval form.",
)
_OVER: Final = _Page(
    410, "over", "链接已过期：请在 CRM 中查看该合同，或请申请人重新发送。",
    "This link has expired: look at the contract in the CRM, or ask the applicant to send it again.",
)  # fmt: skip
_GONE: Final = _Page(
    410,
    "gone",
    "该附件已不在审批中：请联系申请人。",
    "The file is no longer part of this approval: ask the applicant.",
)
_CLOSED: Final = _Page(
    410, "closed", "该附件所在的地址未被允许：请联系管理员（hub.yaml 的 files）。",
    "The file lies at an address that is not allowed: ask your administrator (files in hub.yaml).",
)  # fmt: skip
_AWAY: Final = _Page(
    502, "away", "暂时无法从 CRM 取得该文件：请稍后重试；若仍不行，请联系管理员。",
    "The CRM does not hand out the file now: try again later; if it stays so, ask your administrator.",
)  # fmt: skip
_NO_PICTURE: Final = _Page(
    502, "type", "该文件不是 PDF 或图片，无法在手机上显示：请联系申请人。",
    "The file is neither a PDF nor a picture and is not shown: ask the applicant.",
)  # fmt: skip
_CROWDED: Final = _Page(503, "crowded", "请求过多：请稍后重试。", "Too many at once: try again in a moment.")
_STORE_AWAY: Final = _Page(503, "store", "服务暂不可用：请稍后重试。", "Not available now: try again later.")
_BAD_METHOD: Final = _Page(405, "method", "只能查看。", "Files are only shown here.")


class _NoFile(Exception):
    """The request ends with this page. ``why``: for the log."""

    def __init__(self, page: _Page, why: str = "") -> None:
        super().__init__(page.cause)
        self.page, self.why = page, why


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class _Named:
    """A file as the approval names it. ``token``: what opens the CRM's address, None: it opens by itself."""

    name: str
    url: str
    token: str | None = field(repr=False)


class Front:
    """The application of ``listen_hooks``: callbacks of vendors, and the files that people's phones open."""

    def __init__(self, doors: Asgi, files: Asgi) -> None:
        """Take the two applications behind it."""
        self._doors, self._files = doors, files

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand one request on by its path."""
        is_file = scope["type"] == "http" and scope["raw_path"].startswith(FILES_PATH.encode())
        await (self._files if is_file else self._doors)(scope, receive, send)


class FileDoor:
    """The ASGI application; every answer is counted (``hub_files_total``) and logged."""

    def __init__(self, hub: Hub, clock: Clock, log: Any) -> None:
        """``hub``: store, vault and the project in force. ``log``: a structlog logger."""
        self._hub, self._clock, self._log = hub, clock, log
        self._kept: OrderedDict[tuple[bytes, str], tuple[float, _File]] = OrderedDict()
        self._clients: dict[Files, HttpClient] = {}
        self._fetching = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Close every connection to a CRM."""
        for client in self._clients.values():
            await client.close()

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """Answer one HTTP request; the log names the approval, never the link."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        link: FileLink | None = None
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise _NoFile(_BAD_METHOD)
            link = read_link(self._hub.vault, scope["raw_path"][len(FILES_PATH) :].decode("latin-1"))
            if link is None:
                raise _NoFile(_UNKNOWN)
            file = await self._file(link)
            status, extra, content = _part(file, headers)
            found = [*_head(file), *extra, (b"content-length", b"%d" % len(content))]
            cause, why = "shown", ""
        except _NoFile as missing:
            status, content = missing.page.status, _html(missing.page)
            found = [
                (b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(content)),
                *([(b"allow", b"GET, HEAD")] if status == _BAD_METHOD.status else []),
                *([(b"retry-after", b"5")] if status == _CROWDED.status else []),
            ]  # fmt: skip
            cause, why = missing.page.cause, missing.why
        self._hub.world.metrics.add("hub_files_total", cause)
        self._log.info(
            "files.answered", cause=cause, status=status, why=why, approval=link.approval.hex() if link else "",
            client=(scope.get("client") or ("",))[0],
        )  # fmt: skip
        await send({"type": "http.response.start", "status": status, "headers": [*found, *_BOTH]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})

    async def _file(self, link: FileLink) -> _File:
        """Return the file a link names. Raises _NoFile."""
        now = self._clock.now()
        if now >= link.until:
            raise _NoFile(_OVER)
        files = self._hub.project.shown_files
        if files is None:
            raise _NoFile(_CLOSED, "hub.yaml has no files any more")
        try:
            named = await self._hub.store.read(_looked_up, self._hub.vault, link, files, now)
        except HubError as error:
            raise _NoFile(_STORE_AWAY, str(error)) from None
        if isinstance(named, _Page):
            raise _NoFile(named)
        key = (link.approval, named.url)
        if (kept := self._fresh(key)) is not None:
            return kept
        if self._fetching.locked():
            raise _NoFile(_CROWDED)
        async with self._fetching:
            file = await self._fetched(files, named)
        self._keep(key, file)
        return file

    async def _fetched(self, files: Files, named: _Named) -> _File:
        try:
            files.check(named.url)
        except HubError as error:
            raise _NoFile(_CLOSED, str(error)) from None
        client = self._clients.get(files)
        if client is None:
            rules = replace(files.outbound, timeout=FETCH_SECONDS, max_bytes=LARGEST_FILE)
            client = self._clients[files] = HttpClient(rules, clock=self._clock)
        try:
            answer = await client.request(
                "GET",
                named.url,
                headers={"Authorization": named.token} if named.token else None,
                read_only=True,
            )
        except HubError as error:
            raise _NoFile(_AWAY, str(error)) from None
        if answer.status != 200:
            raise _NoFile(_AWAY, f"HTTP {answer.status}")
        kind = next((media for head, media in _TYPES if answer.content.startswith(head)), None)
        if kind is None:
            raise _NoFile(_NO_PICTURE)
        return _File(named.name, kind, answer.content)

    def _fresh(self, key: tuple[bytes, str]) -> _File | None:
        until, file = self._kept.get(key, (0.0, None))
        return file if until > self._clock.monotonic() else None

    def _keep(self, key: tuple[bytes, str], file: _File) -> None:
        """Keep a file for a while; the oldest make room."""
        now = self._clock.monotonic()
        self._kept.pop(key, None)
        self._kept[key] = (now + KEPT_SECONDS, file)
        while sum(len(one.content) for _, one in self._kept.values()) > KEPT_BYTES or (
            next(iter(self._kept.values()))[0] <= now
        ):
            self._kept.popitem(last=False)


def _looked_up(tx: Tx, vault: Vault, link: FileLink, files: Files, now: int) -> _Named | _Page:
    """Return the file a link names, a page if the approval shows it no more."""
    found = get(tx, Scope.ALL, link.approval, kind="approval")
    if found is None or found.deleted is not None:
        return _GONE
    if (ended := _ended(found.body)) is not None and now >= ended + files.after_end * DAY:
        return _OVER
    rows = found.body.get(ATTACHMENTS)
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict):
            continue
        url = row.get("url")
        if isinstance(url, str) and file_digest(vault, url) == link.file:
            return _Named(str(row.get("name") or ""), url, _token(tx, vault, files))
    return _GONE


def _token(tx: Tx, vault: Vault, files: Files) -> str | None:
    """Return what the CRM wants in the header Authorization, None: nothing."""
    secret = get_secret(tx, vault, files.authorization) if files.authorization else None
    return None if secret is None else secret.value.decode()


def _ended(approval: Mapping[str, Json]) -> int | None:
    """Return when an approval ended (µs), None while it is open or if nobody said when."""
    finished = approval.get("finished_at")
    if approval.get("status") not in _ENDED or not isinstance(finished, str):
        return None
    return int(datetime.fromisoformat(finished).timestamp() * SECOND)


def _part(file: _File, headers: Mapping[bytes, str]) -> tuple[int, list[Header], bytes]:
    """Return status, headers and bytes of what was asked for; one range at most, whatever is odd is the whole file."""
    size = len(file.content)
    asked = _RANGE.fullmatch(headers.get(b"range", "").strip())
    if asked is None or not (asked[1] or asked[2]) or b"if-range" in headers:
        return 200, [], file.content
    if asked[1]:
        begin, end = int(asked[1]), min(int(asked[2]) if asked[2] else size - 1, size - 1)
    else:
        begin, end = max(size - int(asked[2]), 0), size - 1
    if begin >= size or begin > end:
        return 416, [(b"content-range", b"bytes */%d" % size)], b""
    return 206, [(b"content-range", b"bytes %d-%d/%d" % (begin, end, size))], file.content[begin : end + 1]


def _head(file: _File) -> list[Header]:
    plain = "file." + file.media_type.rpartition("/")[2]
    name = f"inline; filename=\"{plain}\"; filename*=UTF-8''{quote(file.name, safe='')}"
    return [
        (b"content-type", file.media_type.encode()),
        (b"content-disposition", name.encode("ascii")),
        (b"accept-ranges", b"bytes"),
    ]


def _html(page: _Page) -> bytes:
    return (
        '<!doctype html><html lang="zh-CN"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{page.status}</title>"
        '<body style="font:17px/1.6 system-ui,sans-serif;margin:2em;max-width:34em">'
        f'<p>{page.zh}</p><p lang="en" style="color:#555">{page.en}</p></body></html>'
    ).encode()
