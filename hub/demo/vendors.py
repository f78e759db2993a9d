"""The five vendors of the demo: their sandboxes as the demo's hub.yaml names them, and what an administrator sets up first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hub.demo.stage import Stage

__all__ = [
    "CRM",
    "DINGTALK",
    "DINGTALK_CONTRACT",
    "KINGDEE",
    "MAILCHIMP",
    "SHOP",
    "VENDORS",
    "WECOM",
    "WECOM_CONTRACT",
    "YONYOU",
    "Vendor",
]

CRM, SHOP = "crm", "shop"
KINGDEE, WECOM, DINGTALK, YONYOU, MAILCHIMP = "k3", "wecom", "dingtalk", "yonyou", "mailchimp"
"""The connections of the demo's hub.yaml."""

WECOM_CONTRACT: Final = "3TmSbxContract000000000000000000000000000001"
DINGTALK_CONTRACT: Final = "PROC-SANDBOX-CONTRACT"
"""The template of contracts in each approval system."""
NUMBER: Final = "合同编号"
"""The field that ties what people start themselves to its contract; an administrator adds it to both templates."""
PAPERS: Final = "合同文件"
"""The field for links to the contract's files, of several lines; in both templates, too."""
ALIASES: Final = {"合同金额": "amount", "备注": "reason", NUMBER: "contract_no"}
"""What the mapping calls the fields of DingTalk's form: bizAlias, which users cannot change."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor of the demo.

    ``address``: the sandbox as hub.yaml must name it, with ``port``, its port there; ``secrets``: names in hub.yaml ->
    what the sandbox calls them; ``made``: secrets that an integrator makes up; ``settled``: what an administrator sets up
    at the vendor before the day begins.
    """

    sandbox: str
    port: int
    address: str
    secrets: Mapping[str, str]
    made: tuple[str, ...] = ()
    settled: Callable[[Stage], Awaitable[None]] | None = None


WECOM_STAFF: Final = (
    {"userid": "LiLei", "name": "李雷", "department": [5], "main_department": 5},
    {"userid": "HanMei", "name": "韩梅", "department": [2], "main_department": 2},
    {"userid": "SunLi", "name": "孙丽", "department": [2], "main_department": 2},
    {"userid": "WangFang", "name": "王芳", "department": [2], "main_department": 2},
)
"""Who works at the corp besides those the sandbox knows; 5 and 2 are two of its departments."""
DINGTALK_STAFF: Final = (
    {"userid": "LiLei", "name": "李雷", "dept_id_list": [210]},
    {"userid": "ZhaoQiang", "name": "赵强", "dept_id_list": [200]},
    {"userid": "WangFang", "name": "王芳", "dept_id_list": [1]},
)


async def _wecom(stage: Stage) -> None:
    """Let the employees be there and the form of contracts fit, and save the callback address with WeCom's handshake."""
    staff = [{"act": "put_member", "silent": True, **one} for one in WECOM_STAFF]
    (template,) = [
        one
        for one in await stage.at_vendor(WECOM, "GET", "/templates")
        if one["template_id"] == WECOM_CONTRACT
    ]
    number = {"control": "Text", "id": "Text-1570000000901", "title": [{"text": NUMBER, "lang": "zh_CN"}]}
    papers = {
        "control": "Textarea",
        "id": "Textarea-1570000000902",
        "title": [{"text": PAPERS, "lang": "zh_CN"}],
    }
    controls = [
        *template["controls"],
        *({"property": {**one, "placeholder": [], "require": 0, "un_print": 0}} for one in (number, papers)),
    ]
    flow = [{"type": 1, "apv_rel": 1, "userid": ["SunLi"]}]
    form = {
        "act": "put_template",
        "template_id": WECOM_CONTRACT,
        "controls": controls,
        "nodes": flow,
        "notifyer": [],
    }
    await stage.at_vendor(WECOM, "POST", "/acts", [*staff, form])
    agent = stage.sites[WECOM].vendor.credentials("")["agentid"]
    await stage.at_vendor(WECOM, "PUT", f"/callbacks/{agent}", {"url": f"{stage.doors}/{WECOM}"})


async def _dingtalk(stage: Stage) -> None:
    """Let the employees be there and the form of contracts fit; the hub's socket is open before the day begins."""
    staff = [{"act": "put_user", "silent": True, **one} for one in DINGTALK_STAFF]
    state = await stage.at_vendor(DINGTALK, "GET", "/state")
    (template,) = [one for one in state["templates"] if one["process_code"] == DINGTALK_CONTRACT]
    number = {
        "componentName": "TextField",
        "props": {"id": "TextField-NUMBER01", "label": NUMBER, "required": False},
    }
    papers = {
        "componentName": "TextareaField",
        "props": {"id": "TextareaField-PAPERS1", "label": PAPERS, "required": False},
    }
    items = [_aliased(one) for one in (*template["items"], number, papers)]
    form = {"act": "put_template", "process_code": DINGTALK_CONTRACT, "items": items}
    await stage.at_vendor(DINGTALK, "POST", "/acts", [*staff, form])

    async def heard() -> bool:
        counts = await stage.at_vendor(DINGTALK, "GET", "/events")
        return bool(counts["sockets"]) and not counts["pending"]

    await stage.until("the hub's socket at DingTalk", heard)


def _aliased(item: Mapping[str, Any]) -> Mapping[str, Any]:
    alias = ALIASES.get(item["props"]["label"])
    return {**item, "props": {**item["props"], "bizAlias": alias}} if alias else item


async def _mailchimp(stage: Stage) -> None:
    """Save the webhook's address, with the secret in it, by Mailchimp's own test of it."""
    audience = stage.sites[MAILCHIMP].vendor.credentials("")["list_id"]
    address = f"{stage.doors}/{MAILCHIMP}?key={stage.made['mailchimp-url-secret']}"
    events = dict.fromkeys(("subscribe", "unsubscribe", "profile", "cleaned", "upemail"), True)
    sources = {"user": True, "admin": True, "api": False}
    hook = {"url": address, "events": events, "sources": sources}
    await stage.at_vendor(MAILCHIMP, "POST", f"/lists/{audience}/webhooks", hook)


VENDORS: Final[Mapping[str, Vendor]] = {
    KINGDEE: Vendor(
        "kingdee", 9401, "http://127.0.0.1:9401/k3cloud/",
        {"k3-acct-id": "acct_id", "k3-user-name": "user_name", "k3-app-id": "app_id", "k3-app-secret": "app_secret"},
    ),
    WECOM: Vendor(
        "wecom", 9402, "http://127.0.0.1:9402",
        {"wecom-secret": "secret", "wecom-token": "token", "wecom-encoding-aes-key": "encoding_aes_key"}, settled=_wecom,
    ),
    DINGTALK: Vendor(
        "dingtalk", 9403, "http://127.0.0.1:9403", {"dingtalk-app-secret": "app_secret"}, settled=_dingtalk,
    ),
    YONYOU: Vendor("yonyou", 9404, "http://127.0.0.1:9404", {"yonyou-app-secret": "app_secret"}),
    MAILCHIMP: Vendor(
        "mailchimp", 9405, "http://127.0.0.1:9405/3.0", {"mailchimp-api-key": "api_key"}, made=("mailchimp-url-secret",),
        settled=_mailchimp,
    ),
}  # fmt: skip
"""The vendors of the demo by connection."""
