"""``hub fields``: the custom fields a project declares, and which stored values no longer fit them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import typer

from hub.api.metadata import described
from hub.cli.command import add, group
from hub.cli.screen import plain
from hub.cli.session import NOT_FOUND, OK, PROBLEM, Failure, Session
from hub.crm.strays import Stray, strays
from hub.model.fields import Field
from hub.model.kind import Kind
from hub.model.names import nearest
from hub.model.record import Scope
from hub.model.region import region_path
from hub.project import ProjectInvalid
from hub.project.load import declared_in

__all__ = ["check", "list_fields", "register"]

_SAID: Final[Mapping[str, tuple[str, str]]] = {
    "field": ("字段", "field"),
    "type": ("类型", "type"),
    "label": ("名称", "label"),
    "personal": ("个人信息", "personal"),
    "required": ("必填", "required"),
    "regions": ("大区", "regions"),
    "options": ("选项", "options"),
    "yes": ("是", "yes"),
    "everywhere": ("全部", "everywhere"),
    "open": ("未声明：任意自定义字段都可写入（视为个人信息）", "not declared: any custom field goes, and counts as personal"),
    "none": ("没有自定义字段", "no custom fields"),
    "tags": ("标签 {region}：{tags}", "tags of {region}: {tags}"),
    "ok": ("{file}：{count} 个字段，无问题", "{file}: {count} fields, ok"),
    "nothing": ("fields/ 中没有文件：任意自定义字段都可写入", "no file in fields/: any custom field goes"),
    "stray": (
        "{kind} {field}：{count} 条记录，例如 {record}：{why}。已存的值保留并照常显示；改正定义，或用 PATCH 写入合适的值或 null",
        "{kind} {field}: {count} records, {record} for one: {why}. What is stored stays and is shown; correct it, or PATCH a fit value or null",
    ),
    "fit": ("已存的值都合字段定义（{count} 条记录）", "every stored value fits ({count} records)"),
    "no_kind": ("没有记录类型 {kind}{hint}", "there is no kind {kind}{hint}"),
    "no_region": ("大区树中没有 {region}{hint}", "there is no region {region} in the tree{hint}"),
    "near": ("；是否要找 {near}？", "; did you mean {near}?"),
}  # fmt: skip

OfKind = Annotated[str | None, typer.Argument(help="opt.fields.kind", metavar="KIND")]
InRegion = Annotated[str | None, typer.Option("--region", help="opt.fields.region")]
WithRecords = Annotated[bool, typer.Option("--records", help="opt.fields.records")]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "fields")
    add(made, lang, list_fields, "list", key="help.fields.list")
    add(made, lang, check, "check", key="help.fields.check")


def list_fields(session: Session, kind: OfKind = None, region: InRegion = None) -> int:
    """Show the custom fields and tags of every kind that declares some, or of one kind."""
    kinds, regions = declared_in(session.project)
    if kind is not None and kind not in kinds:
        raise Failure(_say(session, "no_kind", kind=plain(kind), hint=_near(session, kind, kinds)), NOT_FOUND)
    place = None if region is None else _region(session, region, regions)
    shown = [kinds[kind]] if kind else [one for one in kinds.values() if one.custom is not None or one.tags]
    if session.as_json:
        session.screen.json([described(one, region=place) for one in shown])
        return OK
    if not shown:
        session.screen.line(_say(session, "nothing"))
    for one in shown:
        _tell(session, one, place)
    return OK


def _tell(session: Session, kind: Kind, region: str | None) -> None:
    screen = session.screen
    screen.line(f"{kind.name} {kind.title_zh if session.lang == 'zh' else kind.title_en}", style="bold")
    fields = [one for one in (kind.custom or {}).values() if region is None or one.is_in(region)]
    if kind.custom is None:
        screen.line(_say(session, "open"), style="yellow")
    elif not fields:
        screen.line(_say(session, "none"))
    else:
        heads = ("field", "type", "label", "required", "personal", "regions", "options")
        screen.table([_say(session, head) for head in heads], [_row(session, one) for one in fields])
    if region is None:
        tags = {root or "/": listed for root, listed in kind.tags.items()}
    else:
        allowed = kind.tags_of(region)
        tags = {region or "/": allowed} if allowed is not None else {}
    for root, listed in tags.items():
        screen.line(_say(session, "tags", region=root, tags=plain(", ".join(listed))))


def _row(session: Session, field: Field) -> list[str]:
    at = 0 if session.lang == "zh" else 1
    yes = _say(session, "yes")
    return [
        field.name,
        field.type,
        (field.zh, field.en)[at],
        yes if field.required else "",
        yes if field.personal else "",
        ", ".join(field.regions) or _say(session, "everywhere"),
        ", ".join(f"{value} {both[at]}" for value, both in zip(field.choices, field.labels, strict=True)),
    ]


def check(session: Session, *, records: WithRecords = False) -> int:
    """Check the field files; with ``--records`` also what records hold under them."""
    try:
        kinds, _ = declared_in(session.project)
    except ProjectInvalid as error:
        if session.as_json:
            names = ("file", "line", "column", "field", "message", "nearest")
            found = [{name: getattr(one, name) for name in names} for one in error.problems]
            session.screen.json({"ok": False, "problems": found})
        for one in error.problems if not session.as_json else ():
            session.screen.warn(str(one), style="red")
        return PROBLEM
    declared = {
        one.name: len(one.custom or ()) for one in kinds.values() if one.custom is not None or one.tags
    }
    stray, count = _strays(session, kinds) if records else ([], 0)
    if session.as_json:
        out: dict[str, object] = {"ok": not stray, "fields": declared}
        session.screen.json(
            out | ({"records": count, "strays": [_stray(one) for one in stray]} if records else {})
        )
        return PROBLEM if stray else OK
    for name, number in declared.items():
        session.screen.line(_say(session, "ok", file=f"fields/{name}.yaml", count=number))
    if not declared:
        session.screen.line(_say(session, "nothing"))
    for unfit in stray:
        session.screen.warn(_say(session, "stray", **_stray(unfit)), style="yellow")
    if records and not stray:
        session.screen.line(_say(session, "fit", count=count))
    return PROBLEM if stray else OK


def _strays(session: Session, kinds: Mapping[str, Kind]) -> tuple[list[Stray], int]:
    with session.hub() as hub:
        return hub.store.read_now(strays, Scope.ALL, kinds)


def _stray(one: Stray) -> dict[str, object]:
    return {
        "kind": one.kind,
        "field": one.field,
        "count": one.count,
        "record": one.record.hex(),
        "why": one.why,
    }


def _region(session: Session, text: str, known: tuple[str, ...]) -> str:
    try:
        path = region_path(text)
    except ValueError:
        path = text
    if path not in known:
        hint = _near(session, path, known)
        raise Failure(_say(session, "no_region", region=plain(text), hint=hint), NOT_FOUND)
    return path


def _near(session: Session, name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    found = nearest(name[:80], known)
    return _say(session, "near", near=found) if found else ""


def _say(session: Session, key: str, **known: object) -> str:
    zh, en = _SAID[key]
    return (zh if session.lang == "zh" else en).format(**known)
