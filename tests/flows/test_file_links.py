"""A contract's PDF on an approver's phone: from the form in DingTalk through the hub's door to the CRM that keeps it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from connectors.dingtalk.sandbox import DingTalkSandbox
from connectors.dingtalk.sandbox.acts import PutTemplate
from connectors.dingtalk.sandbox.seed import CONTRACT
from hub.api.files import FileDoor
from hub.api.serve import API_TOKEN, serve
from hub.clock import SECOND, SystemClock
from hub.demo.papers import Papers, contract_pdf
from hub.errors import SettingsError
from hub.pipe.file_links import DAY, file_link, read_link
from hub.pipe.world import World
from hub.project.files import Files
from hub.project.load import load_project
from hub.project.section import ProjectInvalid
from hub.sdk.net import Outbound
from hub.sdk.sandbox import running
from hub.settings import load_settings
from hub.store.engine import Tx
from hub.store.secrets import put_secret
from hub.vault import Vault
from hub.wiring import Hub, open_hub

ROOT = Path(__file__).resolve().parents[2]
PDF = contract_pdf("年度框架合同 HT-1", "云帆示例科技（深圳）有限公司", "150,000.00 CNY")
PHONE = {
    "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 DingTalk/7.5",
    "Accept": "text/html,application/pdf,*/*",
}  # fmt: skip
FIELD = "合同文件"
HUB_YAML = """\
version: 1
regions: [cn]
owners:
  li.lei: {{region: cn, users: {{ding: seller}}}}
entities:
  demo: {{title: 示例科技（深圳）有限公司}}
connections:
  crm: {{connector: api, region: cn, entity: demo}}
  ding:
    connector: dingtalk
    settings:
      base_url: {ding}
      old_url: {ding}
      corp_id: {corp}
      app_key: {key}
      app_secret: ${{secret:ding-secret}}
      process_codes: {code}
      receive: poll
    allow: [{{host: 127.0.0.1, port: {ding_port}, plain_http: true}}]
    region: cn
    entity: demo
files:
  authorization: ${{secret:crm-files}}
  allow: [{{host: 127.0.0.1, port: {papers_port}, plain_http: true}}]
approvals:
  routes:
    all: {{subjects: [contract], connection: ding, template: {code}}}
syncs:
  ding.approval.out: {{target: ding.approval, mapping: dingtalk/approval.out, mode: write, accept_window: true}}
  ding.approval.in: {{source: ding.approval, mapping: dingtalk/approval.in, mode: write, schedule: 1h}}
"""


@dataclass
class Phone:
    """A running hub with DingTalk and a CRM's files behind it."""

    hub: Hub
    ding: DingTalkSandbox
    papers: Papers
    files: str
    api: httpx.AsyncClient
    web: httpx.AsyncClient

    async def put(self, kind: str, id_: str, **fields: Any) -> httpx.Response:
        return await self.api.put(f"/api/v1/{kind}/by-external/crm/{id_}", json=fields)

    async def sign(self, no: str, *files: tuple[str, str]) -> None:
        """Let the CRM send a contract with these files (name, address), and ask for its approval."""
        rows = [{"name": name, "url": url} for name, url in files]
        await self.put("customers", "C-1", name="云帆示例科技（深圳）有限公司", uscc="91440300MA5EXA1016")
        told = await self.put(
            "contracts", no, no=no, customer={"external": "C-1"}, amount_total="150000.00", currency="CNY", status="draft",
            **({"attachments": rows} if rows else {}),
        )  # fmt: skip
        assert told.status_code == 201, told.text
        form = {"客户名称": "云帆示例科技（深圳）有限公司", "合同金额": "150000.00"}
        told = await self.put(
            "approvals", f"{no}-1", no=f"{no}-1", subject="contract", contract={"external": no}, applicant="li.lei",
            status="submitted", form=form,
        )  # fmt: skip
        assert told.status_code == 201, told.text

    async def form(self, no: str) -> dict[str, str]:
        """Wait until DingTalk has a contract's form, and return what its approver sees."""
        for _ in range(1_000):
            for one in self.ding.company.instances.values():
                shown = {str(row["name"]): str(row["value"]) for row in one.values}
                if any(no in value for value in shown.values()):
                    return shown
            await asyncio.sleep(0.01)
        raise AssertionError(f"no form of {no} at DingTalk")

    async def link(self, no: str = "HT-1") -> str:
        """Return the link in the form of a contract that has one file."""
        await self.sign(no, ("框架合同.pdf", f"{self.files}{no}.pdf"))
        (link,) = re.findall(r"http\S+", (await self.form(no))[FIELD])
        return str(link)


@contextlib.asynccontextmanager
async def opened(folder: Path, *, public: bool = True) -> AsyncIterator[Phone]:
    ding, papers = (
        DingTalkSandbox(),
        Papers({"HT-1.pdf": PDF, "page.html": b"<html><script>", "big.pdf": b"%PDF-"}),
    )
    with_field(ding)
    async with contextlib.AsyncExitStack() as stack:
        base = await stack.enter_async_context(running(ding))
        files = await stack.enter_async_context(papers.running())
        port = free_port()
        settings = load_settings(
            data_dir=folder / "var", project_dir=project(folder, ding, base, files), listen_ops="127.0.0.1:0",
            listen_hooks=f"127.0.0.1:{port}", public_url=f"http://127.0.0.1:{port}" if public else "",
        )  # fmt: skip
        keep_secrets(open_hub(settings), ding, base)
        hub = open_hub(settings, start=True)
        stack.push_async_callback(hub.aclose)
        ready, stop = asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(serve(hub, ready=ready, stop=stop))
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        api = httpx.AsyncClient(
            base_url=hub.listening["ops"], headers={"Authorization": "Bearer token"}, trust_env=False
        )
        web = httpx.AsyncClient(headers=PHONE, trust_env=False)
        try:
            async with api, web:
                yield Phone(hub, ding, papers, files, api, web)
        finally:
            stop.set()
            await serving


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_field(ding: DingTalkSandbox) -> None:
    """Let the administrator add the field for files to the template."""
    template = ding.company.templates[CONTRACT]
    field = {
        "componentName": "TextareaField",
        "props": {"id": "TextareaField-FILES01", "label": FIELD, "required": False},
    }
    ding.act(PutTemplate(act="put_template", process_code=CONTRACT, items=[*template.items, field]))


def project(folder: Path, ding: DingTalkSandbox, base: str, files: str) -> Path:
    given = ding.credentials(base)
    root = folder / "project"
    root.mkdir()
    shutil.copytree(ROOT / "mappings", root / "mappings")
    text = HUB_YAML.format(
        ding=base, corp=given["corp_id"], key=given["app_key"], code=CONTRACT, ding_port=base.rpartition(":")[2],
        papers_port=files.split(":")[2].partition("/")[0],
    )  # fmt: skip
    (root / "hub.yaml").write_text(text, "utf-8")
    return root


def keep_secrets(hub: Hub, ding: DingTalkSandbox, base: str) -> None:
    def put(tx: Tx) -> None:
        values = {
            "ding-secret": str(ding.credentials(base)["app_secret"]),
            "crm-files": "Bearer of-the-crm",
            API_TOKEN: "token",
        }
        for name, value in values.items():
            put_secret(tx, hub.vault, name, value.encode())

    hub.store.run_now(put)
    hub.store.close()


@pytest.fixture
async def phone(tmp_path: Path) -> AsyncIterator[Phone]:
    async with opened(tmp_path) as made:
        yield made


async def test_the_link_in_dingtalks_form_opens_the_contract_of_the_crm_on_a_phone(phone: Phone):
    answer = await phone.web.get(await phone.link())
    assert answer.status_code == 200
    assert answer.content.startswith(b"%PDF")
    assert answer.content == PDF
    assert answer.headers["content-type"] == "application/pdf"
    shown = answer.headers["content-disposition"]
    assert shown.startswith("inline;")
    assert "filename*=UTF-8''%E6%A1%86%E6%9E%B6%E5%90%88%E5%90%8C.pdf" in shown
    assert answer.headers["cache-control"] == "private, no-store"
    assert phone.papers.tokens == ["Bearer of-the-crm"]


async def test_the_parts_and_the_head_that_phones_ask_for_are_one_call_to_the_crm(phone: Phone):
    link = await phone.link()
    head = await phone.web.head(link)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["accept-ranges"]) == (str(len(PDF)), "bytes")
    for asked, expected in (("0-1", PDF[:2]), ("5-", PDF[5:]), ("-7", PDF[-7:]), ("10-99999999", PDF[10:])):
        part = await phone.web.get(link, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, expected), asked
        begin = len(PDF) - 7 if asked == "-7" else int(asked.partition("-")[0])
        assert part.headers["content-range"] == f"bytes {begin}-{begin + len(expected) - 1}/{len(PDF)}"
    beyond = await phone.web.get(link, headers={"Range": f"bytes={len(PDF)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(PDF)}")
    for odd in ("bytes=0-1,4-5", "bytes=-", "pages=1-2", "bytes=9-3x"):
        assert (await phone.web.get(link, headers={"Range": odd})).content == PDF, odd
    assert phone.papers.asked == ["HT-1.pdf"]


async def test_a_link_that_anything_of_was_changed_leads_nowhere_and_tells_nothing(phone: Phone):
    link = await phone.link()
    place, _, token = link.rpartition("/")
    at = [0, 5, 30, len(token) - 1]
    wrong = [token[:one] + ("A" if token[one] != "A" else "B") + token[one + 1 :] for one in at]
    wrong += [
        "",
        "x",
        token + "A",
        token + "=",
        token.upper(),
        token[:-2],
        "%00",
        "%2e%2e",
        "a" * 500,
        "链接",
    ]
    pages = [await phone.web.get(f"{place}/{one}") for one in wrong]
    assert {page.status_code for page in pages} == {404}
    assert len({page.text for page in pages}) == 1
    assert "请从审批单中重新打开" in pages[0].text
    assert "approval form" in pages[0].text
    assert (await phone.web.post(link, content=b"x")).status_code == 405
    assert phone.papers.asked == []


async def test_a_link_ends_with_its_days_and_some_days_after_its_approval(phone: Phone):
    link = await phone.link()
    token = link.rpartition("/")[2]
    named = read_link(phone.hub.vault, token)
    assert named is not None
    later = Later()
    door = FileDoor(phone.hub, later, structlog.get_logger())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=door), base_url="http://hub") as web:
        later.ahead = 30 * DAY - 60 * SECOND
        assert (await web.get(f"/files/{token}")).status_code == 200
        later.ahead = 30 * DAY + 60 * SECOND
        over = await web.get(f"/files/{token}")
        assert over.status_code == 410
        assert "链接已过期" in over.text
        later.ahead = 0
        phone.hub.store.run_now(ended, named.approval, later.now() - 6 * DAY)
        assert (await web.get(f"/files/{token}")).status_code == 200
        phone.hub.store.run_now(ended, named.approval, later.now() - 8 * DAY)
        assert (await web.get(f"/files/{token}")).status_code == 410
    await door.close()


async def test_what_lies_where_files_may_not_lie_is_refused_when_the_crm_sends_it(phone: Phone):
    await phone.put("customers", "C-1", name="示例", uscc="91440300MA5EXA1016")
    refused = {
        "http://files.example.com/a.pdf": "https only",
        "https://files.example.com/a.pdf": "files.hosts",
        "https://10.0.0.8/a.pdf": "private entry",
        "https://127.0.0.1/a.pdf": "private entry",
        "https://user:secret@files.example.com/a.pdf": "user name",
        "ftp://files.example.com/a.pdf": "https",
        "https://169.254.169.254/latest/meta-data": "private entry",
    }
    for url, why in refused.items():
        told = await phone.put(
            "contracts", "HT-9", no="HT-9", customer={"external": "C-1"}, amount_total="1.00", currency="CNY",
            attachments=[{"name": "合同.pdf", "url": url}],
        )  # fmt: skip
        assert told.status_code == 422, url
        (error,) = told.json()["errors"]
        assert error["field"] == "attachments[0].url"
        assert why in str(error), (url, error)
        assert "secret" not in told.text


async def test_a_crm_that_is_down_has_no_such_file_or_hands_out_a_page_is_told_in_two_languages(phone: Phone):
    link = await phone.link()
    phone.papers.down = True
    away = await phone.web.get(link)
    assert (away.status_code, away.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert "暂时无法从 CRM 取得该文件" in away.text
    assert "try again later" in away.text
    assert phone.files not in away.text
    phone.papers.down = False
    del phone.papers.files["HT-1.pdf"]
    assert (await phone.web.get(link)).status_code == 502
    phone.papers.files["HT-1.pdf"] = b"<html><script>alert(1)</script>"
    script = await phone.web.get(link)
    assert script.status_code == 502
    assert "alert" not in script.text
    assert "不是 PDF 或图片" in script.text
    phone.papers.files["HT-1.pdf"] = b"%PDF-" + b"0" * (21 << 20)
    assert (await phone.web.get(link)).status_code == 502
    phone.papers.files["HT-1.pdf"] = PDF
    assert (await phone.web.get(link)).content == PDF


async def test_what_was_submitted_is_what_its_approvers_see_whatever_the_contract_carries_later(phone: Phone):
    link = await phone.link()
    phone.papers.files["other.pdf"] = contract_pdf("另一份合同")
    told = await phone.put(
        "contracts", "HT-1", no="HT-1", customer={"external": "C-1"}, amount_total="150000.00", currency="CNY",
        attachments=[{"name": "另一份.pdf", "url": f"{phone.files}other.pdf"}],
    )  # fmt: skip
    assert told.status_code == 200
    assert (await phone.web.get(link)).content == PDF
    swapped = await phone.put(
        "approvals", "HT-1-1", no="HT-1-1", subject="contract", contract={"external": "HT-1"}, applicant="li.lei",
        status="submitted", attachments=[{"name": "另一份.pdf", "url": f"{phone.files}other.pdf"}],
    )  # fmt: skip
    (kept,) = swapped.json()["fields"]["attachments"]
    assert kept["name"] == "框架合同.pdf", "what is being decided does not change"
    assert (await phone.web.get(link)).content == PDF
    named = read_link(phone.hub.vault, link.rpartition("/")[2])
    assert named is not None
    phone.hub.store.run_now(moved, named.approval, f"{phone.files}other.pdf")
    gone = await phone.web.get(link)
    assert gone.status_code == 410, "nobody is shown another file than the one his link names"
    assert "已不在审批中" in gone.text


async def test_a_host_that_is_taken_off_the_list_is_not_asked_any_more(phone: Phone):
    link = await phone.link()
    for files in (replace(phone.hub.project.shown_files or Files(), outbound=Outbound()), None):
        phone.hub.project = replace(phone.hub.project, shown_files=files)
        closed = await phone.web.get(link)
        assert closed.status_code == 410
        assert "请联系管理员" in closed.text
    assert phone.papers.asked == []


async def test_a_contract_without_files_has_a_form_without_links(phone: Phone):
    await phone.sign("HT-1")
    assert not (await phone.form("HT-1")).get(FIELD)


async def test_without_a_public_address_no_form_has_a_link(tmp_path: Path):
    async with opened(tmp_path, public=False) as phone:
        await phone.sign("HT-1", ("框架合同.pdf", f"{phone.files}HT-1.pdf"))
        assert not (await phone.form("HT-1")).get(FIELD)


async def test_every_look_is_counted_and_logged_without_its_link(phone: Phone):
    link = await phone.link()
    token = link.rpartition("/")[2]
    logged: list[dict[str, Any]] = []

    def keep(_logger: Any, _method: str, event: Any) -> str:
        logged.append(dict(event))
        raise structlog.DropEvent

    door = FileDoor(
        phone.hub,
        SystemClock(),
        structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.BoundLogger),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=door), base_url="http://hub") as web:
        for one in (token, token[:-1], token):
            await web.get(f"/files/{one}")
    await door.close()
    assert [(one["event"], one["cause"], one["status"]) for one in logged] == [
        ("files.answered", "shown", 200), ("files.answered", "unknown", 404), ("files.answered", "shown", 200),
    ]  # fmt: skip
    assert logged[0]["approval"]
    assert token[:-1] not in str(logged)
    figures = (await phone.api.get("/metrics")).text
    assert 'hub_files_total{result="shown"} 2.0' in figures
    assert 'hub_files_total{result="unknown"} 1.0' in figures


def test_a_file_is_linked_only_where_the_hub_would_show_it(tmp_path: Path):
    world = world_at(tmp_path)
    assert file_link(world, bytes(16), "https://files.example.com/a.pdf", 0)
    assert file_link(world, bytes(16), "https://elsewhere.example.com/a.pdf", 0) is None
    assert file_link(replace(world, public_url=""), bytes(16), "https://files.example.com/a.pdf", 0) is None


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        ("hosts: [https://files.example.com]", "files.hosts"),
        ("hosts: [files.example.com:8443]", "host alone"),
        ("hosts: [files.example.com/x]", "host alone"),
        ("authorization: Bearer abc", "never stands in hub.yaml"),
        ("days: 0", "from 1 to 365"),
        ("dayz: 3", "unknown key"),
    ],
)
def test_a_wrong_word_under_files_is_named_with_its_line(tmp_path: Path, stated: str, why: str):
    with pytest.raises(ProjectInvalid, match=why):
        world_at(tmp_path, stated)


@pytest.mark.parametrize(
    "url", ["http://hub.example.com", "hub.example.com", "https://u:p@hub.example.com", "https://h/?a=1"]
)
def test_the_public_address_is_https(url: str):
    with pytest.raises(SettingsError, match="HUB_PUBLIC_URL"):
        load_settings(public_url=url)


class Later(SystemClock):
    """The wall clock, ``ahead`` µs."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


def ended(tx: Tx, approval: bytes, at: int) -> None:
    """Write into an approval that it was approved at that time (µs), as the vendor's answer would."""
    finished = datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    tx.cursor.execute(
        "UPDATE records SET body = json_set(body, '$.status', 'approved', '$.finished_at', ?) WHERE id = ?", (finished, approval)
    )  # fmt: skip


def moved(tx: Tx, approval: bytes, url: str) -> None:
    """Put another file in the place of an approval's first one, past every rule."""
    tx.cursor.execute(
        "UPDATE records SET body = json_set(body, '$.attachments[0].url', ?) WHERE id = ?", (url, approval)
    )


def world_at(folder: Path, stated: str = "hosts: [files.example.com]") -> World:
    """Return the world of a project whose files lie at one public host."""
    (folder / "mappings").mkdir()
    text = f"version: 1\nconnections:\n  crm: {{connector: api}}\nfiles:\n  {stated}\n"
    (folder / "hub.yaml").write_text(text, "utf-8")
    made = load_project(folder, {})
    return World(made, {}, Vault.in_memory(SystemClock()), b"epoch", public_url="https://hub.example.com")
