"""The live form of an approval template: its controls, and how a field of ours finds its control (fact sheet 4.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.wecom.outcomes import bad_answer
from connectors.wecom.pacing import ApprovalCalls
from hub.sdk import Cause, Refused, Toolbox

__all__ = [
    "Control",
    "Template",
    "Templates",
    "correlation_hint",
    "correlation_of",
    "label_of",
    "meant",
    "texts_of",
]

DETAIL = "oa/gettemplatedetail"
FRESH = 300.0
"""Seconds a form is believed without asking again; a refusal of the form ends it earlier."""
NO_TEMPLATE = "301025"
"""What a template id that is not there, or not in use, answers (4.5; which of the two it does not say)."""
TEXT = "Text"


@dataclass(frozen=True, slots=True)
class Control:
    """One control of a form. ``labels``: its titles in every language; users may change them, ``id`` stays.

    ``options``: key and texts of each. ``type``: the one of ``config``: single or multi, day, hour or halfday.
    ``mode``: user or department. ``attendance``: 1, 3, 4 or 5, 0 for none.
    """

    id: str
    labels: tuple[str, ...]
    kind: str
    required: bool = False
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    type: str = ""
    mode: str = ""
    attendance: int = 0
    children: tuple[Control, ...] = ()

    @property
    def label(self) -> str:
        """Return the title people see, the id where there is none."""
        return self.labels[0] if self.labels else self.id


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it stands now."""

    code: str
    name: str
    controls: tuple[Control, ...]


def meant(controls: Sequence[Control], name: str) -> list[Control]:
    """Return the controls a name of ours may mean: the one with that id, else all with that title."""
    named = [one for one in controls if one.id == name]
    return named or [one for one in controls if name in one.labels]


def correlation_of(template: Template, field: str) -> Control | None:
    """Return the Text control that carries our number, None if the form has none, or more than one of that title."""
    found = [one for one in meant(template.controls, field) if one.kind == TEXT]
    return found[0] if len(found) == 1 else None


def correlation_hint(template: Template, field: str) -> tuple[str, str]:
    """Return what an administrator must click to give a form the field that carries our number (zh, en)."""
    zh = (
        f"模板“{template.name}”（{template.code}）没有唯一的文本控件“{field}”：企业微信管理后台 → 应用管理 → 审批 → 编辑该模板 → "
        f"从控件区拖入“文本”，名称填“{field}”，不设必填 → 保存并发布；或把设置 correlation_field 改为已有文本控件的名称或控件 id"
    )
    en = (
        f'template "{template.name}" ({template.code}) has no single Text control "{field}": WeCom admin console → 应用管理 → '
        f'审批 → edit the template → drag in a 文本, name it "{field}", not required → save and publish; or set '
        "correlation_field to the name or id of a Text control that is there"
    )
    return zh, en


class Templates:
    """Reads forms and keeps them for a while."""

    def __init__(self, calls: ApprovalCalls, tools: Toolbox) -> None:
        """Share the calls; nothing is read yet."""
        self._calls, self._tools = calls, tools
        self._known: dict[str, tuple[float, Template]] = {}

    def forget(self, code: str) -> None:
        """Ask anew the next time."""
        self._known.pop(code, None)

    async def get(self, code: str) -> Template:
        """Return a template that an approval may be started with.

        Raises:
            Refused: it is not there or not in use, naming ``processCode``.
            RemoteError: as the client.
        """
        until, template = self._known.get(code, (0.0, None))
        now = self._tools.clock.monotonic()
        if template is not None and now < until:
            return template
        try:
            reply = await self._calls.look(DETAIL, {"template_id": code})
        except Refused as error:
            if error.code != NO_TEMPLATE:
                raise
            text = (
                f"模板 {code} 不存在或已停用 / the template {code} is not there or not in use ({error}): "
                "企业微信管理后台 → 应用管理 → 审批"
            )
            raise Refused(
                text, cause=Cause.STATE, vendor="wecom", code=error.code, field="processCode"
            ) from None
        template = _template(code, reply)
        self._known[code] = (now + FRESH, template)
        return template


def _template(code: str, reply: Mapping[str, Any]) -> Template:
    content = reply.get("template_content")
    controls = content.get("controls") if isinstance(content, dict) else None
    if not isinstance(controls, list):
        raise bad_answer(f"{DETAIL} answered no template_content.controls", read=True)
    names = texts_of(reply.get("template_names"))
    return Template(code, names[0] if names else code, _controls(controls))


def _controls(given: object) -> tuple[Control, ...]:
    listed = given if isinstance(given, list) else ()
    return tuple(_control(one) for one in listed if isinstance(one, dict))


def _control(one: Mapping[str, Any]) -> Control:
    shown, config = _object(one, "property"), _object(one, "config")
    kind = str(shown.get("control") or "")
    selector, contact = _object(config, "selector"), _object(config, "contact")
    attendance, vacation = _object(config, "attendance"), _object(config, "vacation_list")
    dated = {
        "Date": _object(config, "date"),
        "DateRange": _object(config, "date_range"),
        "Attendance": _object(attendance, "date_range"),
        "Selector": selector,
        "Contact": contact,
    }
    options = [(row.get("key"), row.get("value")) for row in _rows(selector.get("options"))]
    options += [(row.get("id"), row.get("name")) for row in _rows(vacation.get("item"))]
    return Control(
        id=str(shown.get("id") or ""),
        labels=tuple(texts_of(shown.get("title"))),
        kind=kind,
        required=str(shown.get("require")) in ("1", "True"),
        options=tuple((str(key), tuple(texts_of(value))) for key, value in options),
        type=str(dated.get(kind, {}).get("type") or ""),
        mode=str(contact.get("mode") or ""),
        attendance=attendance["type"] if isinstance(attendance.get("type"), int) else 0,
        children=_controls(_object(config, "table").get("children")),
    )


def texts_of(given: object) -> list[str]:
    """Return the texts of ``[{text, lang}]``, the Chinese one first."""
    rows = _rows(given)
    rows.sort(key=lambda row: row.get("lang") not in ("zh_CN", "zh-CN"))
    return [str(row["text"]) for row in rows if row.get("text") not in (None, "")]


def label_of(given: object) -> str:
    """Return the text of ``[{text, lang}]`` that people see, "" for none."""
    return next(iter(texts_of(given)), "")


def _rows(given: object) -> list[Mapping[str, Any]]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _object(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = of.get(name)
    return found if isinstance(found, dict) else {}
