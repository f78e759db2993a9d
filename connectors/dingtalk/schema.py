"""The live form of a template: its components, and how a field of ours finds its component (fact sheet 2.2, 2.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.outcomes import bad_answer
from hub.sdk import Cause, Refused, Toolbox

__all__ = ["Component", "Template", "Templates", "correlation_hint", "correlation_of", "find"]

SCHEMA = "workflow/forms/schemas/processCodes"
FRESH = 300.0
"""Seconds a form is believed without asking again; an event or a refusal of the form ends it earlier."""
TEXT = "TextField"


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a form. ``label`` is what users see and may change; ``id`` stays."""

    id: str
    label: str
    alias: str
    kind: str
    required: bool = False
    options: tuple[str, ...] = ()
    timed: bool = False
    children: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it stands now. ``status``: PUBLISHED, INVALID, SAVED."""

    code: str
    name: str
    status: str
    components: tuple[Component, ...]


def find(components: Sequence[Component], name: str) -> Component | None:
    """Return the component a name of ours means: its id, its bizAlias, else its label."""
    for attribute in ("id", "alias", "label"):
        for one in components:
            if name and getattr(one, attribute) == name:
                return one
    return None


def correlation_hint(template: Template, field: str) -> tuple[str, str]:
    """Return what an administrator must click to give a form the field that carries our number (zh, en)."""
    zh = (
        f"模板“{template.name}”（{template.code}）没有单行输入框“{field}”：钉钉管理后台 → OA审批 → 编辑该表单 → 从控件区拖入“单行输入框”，"
        f"标题填“{field}”，不设必填 → 保存并发布；或把设置 correlation_field 改为已有单行输入框的标题、bizAlias 或控件 id"
    )
    en = (
        f'template "{template.name}" ({template.code}) has no single-line text field "{field}": DingTalk admin console → '
        f'OA审批 → edit the form → drag in a 单行输入框, title "{field}", not required → save and publish; or set '
        "correlation_field to the title, bizAlias or id of a single-line text field that is there"
    )
    return zh, en


class Templates:
    """Reads forms and keeps them for a while."""

    def __init__(self, client: DingTalkClient, tools: Toolbox) -> None:
        """Share the client; nothing is read yet."""
        self._client, self._tools = client, tools
        self._known: dict[str, tuple[float, Template]] = {}

    def forget(self, code: str = "") -> None:
        """Ask anew the next time: one template, or all."""
        if code:
            self._known.pop(code, None)
        else:
            self._known.clear()

    async def get(self, code: str) -> Template:
        """Return a template's form. Raises RemoteError: not there (``processCodeError``), or as the client."""
        until, template = self._known.get(code, (0.0, None))
        now = self._tools.clock.monotonic()
        if template is not None and now < until:
            return template
        reply = (await self._client.get(SCHEMA, processCode=code)).get("result")
        template = _template(code, reply)
        self._known[code] = (now + FRESH, template)
        return template

    async def usable(self, code: str) -> Template:
        """Return a template that an approval may be started with. Raises Refused, naming ``processCode``."""
        try:
            template = await self.get(code)
        except Refused as error:
            error.field = "processCode"
            raise
        if template.status != "PUBLISHED":
            message = f"模板“{template.name}”未启用 / the template {template.name} ({code}) is not in use: {template.status}"
            raise Refused(message, cause=Cause.STATE, vendor="dingtalk", field="processCode")
        return template


def correlation_of(template: Template, field: str) -> Component | None:
    """Return the text field that carries our number, None if the form has none."""
    found = find(template.components, field)
    return found if found is not None and found.kind == TEXT else None


def _template(code: str, reply: object) -> Template:
    content = reply.get("schemaContent") if isinstance(reply, dict) else None
    if isinstance(content, str):
        content = orjson.loads(content)
    items = content.get("items") if isinstance(content, dict) else None
    if not isinstance(reply, dict) or not isinstance(items, list):
        raise bad_answer(f"{SCHEMA} answered no schemaContent", read=True)
    components = tuple(_component(item) for item in items if isinstance(item, dict))
    return Template(code, str(reply.get("name") or code), str(reply.get("status") or "PUBLISHED"), components)


def _component(item: Mapping[str, Any]) -> Component:
    props = item.get("props") if isinstance(item.get("props"), dict) else {}
    assert isinstance(props, dict)  # the line above says so
    dated = f"{props.get('format') or ''} {props.get('unit') or ''}"
    children = item.get("children") or ()
    return Component(
        id=str(props.get("id") or props.get("componentId") or ""),
        label=str(props.get("label") or ""),
        alias=str(props.get("bizAlias") or ""),
        kind=str(item.get("componentName") or item.get("componentType") or ""),
        required=str(props.get("required")).lower() == "true",
        options=tuple(_option(one) for one in props.get("options") or ()),
        timed="HH" in dated or "小时" in dated or "hour" in dated.lower(),
        children=tuple(_component(child) for child in children if isinstance(child, dict)),
    )


def _option(option: object) -> str:
    """Return the text of an option, which comes plain, as an object, or as JSON inside a text (2.6)."""
    if isinstance(option, str) and option.startswith("{"):
        try:
            option = orjson.loads(option)
        except orjson.JSONDecodeError:
            return str(option)
    return str(option.get("value")) if isinstance(option, dict) else str(option)
