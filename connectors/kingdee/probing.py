"""Read-only looks at the points the fact sheet marks UNCONFIRMED; what only a write would show is listed as skipped.

A result holds codes, counts and yes or no, never a value of a record, a name of the site or a vendor's sentence: it
may be shared. Every look is a call the connector makes anyway (ExecuteBillQuery, QueryBusinessInfo).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connectors.kingdee.client import KingdeeClient
from connectors.kingdee.objects import FORMS
from connectors.kingdee.outcomes import OUTCOMES
from connectors.kingdee.reading import literal
from hub.sdk import SECOND, Cause, Clock, Probe, RemoteError

__all__ = ["POINTS", "Point", "run_probes"]

CUSTOMER, RECEIPT = FORMS["customer"].form, FORMS["receipt"].form
CONTACT = "BD_CommonContact"
AGES = (600, 3600, 86_400)
"""Seconds a signature is old, tried in this order until one is refused."""
FRESH = 30
"""Seconds before now whose number the connector has not used as a nonce yet."""
AT_ONCE = timedelta(seconds=2)
SAMPLE = 200
REFUSED = (Cause.INVALID, Cause.NOT_FOUND, Cause.SETTINGS, Cause.BUG, Cause.UNAVAILABLE)
LOST = (Cause.UNREACHABLE, Cause.CREDENTIAL, Cause.RATE, Cause.QUOTA)
_CODE = re.compile(r"(HTTP )?\d{1,5}", re.ASCII)
_STANDARD_KEY = re.compile(r"F[A-Za-z0-9]{1,30}", re.ASCII)  # a site's own begin with F_
_SHORT_CODE = re.compile(r"[A-Za-z0-9]{1,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Entity:
    """One entity of a form as QueryBusinessInfo lists it: labels and enum values by upper-case field key."""

    label: str
    labels: Mapping[str, str]
    options: Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class _Site:
    """What the looks share: the client, the clock, and the forms that were described already."""

    client: KingdeeClient
    clock: Clock
    known: dict[str, dict[str, _Entity]] = field(default_factory=dict)

    async def entities(self, form: str) -> dict[str, _Entity]:
        """Return the entities of a form by upper-case key; fields of the head stand under ``FBILLHEAD``."""
        if form not in self.known:
            shown = await self.client.view("QueryBusinessInfo", {"data": {"FormId": form}})
            self.known[form] = _entities(shown.get("NeedReturnData"))
        return self.known[form]

    async def count(self, form: str, filters: str, *columns: str) -> int:
        """Return how many rows answer, one at most."""
        pk = "FID" if form == RECEIPT else "FCUSTID"
        return len(await self.client.query(form, columns or (pk,), filters, limit=1))

    async def takes(self, form: str, column: str) -> str:
        """Say whether a query takes a column: "yes" or the code of the refusal. Raises RemoteError for all else."""
        try:
            await self.count(form, "FID<0", column)
        except RemoteError as error:
            if not _is_refusal(error):
                raise
            return _said(error)
        return "yes"


Seen = tuple[str, str]
"""Outcome and what was seen."""


@dataclass(frozen=True, slots=True)
class Point:
    """One UNCONFIRMED point: its claim in both languages, and the look; None: only a write would show it."""

    name: str
    zh: str
    en: str
    look: Callable[[_Site], Awaitable[Seen]] | None = None


async def run_probes(client: KingdeeClient, clock: Clock) -> tuple[Probe, ...]:
    """Look at every point in the order of the table; once the site is lost the rest is unclear, not asked again."""
    site, lost, missed, found = _Site(client, clock), "", 0, []
    for point in POINTS:
        if point.look is None:
            outcome, seen = "skipped", ""
        elif lost:
            outcome, seen = "unclear", f"not asked: {lost}"
        else:
            try:
                outcome, seen = await point.look(site)
                missed = 0
            except RemoteError as error:
                outcome, seen = "unclear", _said(error)
                missed += error.cause is Cause.UNAVAILABLE  # once may be this look's own doing
                lost = seen if error.cause in LOST or missed > 1 else ""
        found.append(Probe(point.name, point.zh, point.en, outcome, seen))
    return tuple(found)


def _is_refusal(error: RemoteError) -> bool:
    """Say whether Kingdee itself, by its code, refuses what was asked; anything else says nothing of a point."""
    return error.code in OUTCOMES and error.cause in REFUSED


def _said(error: RemoteError) -> str:
    """Return cause and code of an error; its message may quote the site or a record."""
    code = error.code if error.code and _CODE.fullmatch(error.code) else "none"
    return f"refused ({error.cause.value}, code {code})"


def _judge(held: bool, seen: str) -> Seen:  # noqa: FBT001 - the one thing it is told
    return "confirmed" if held else "contradicted", seen


# what QueryBusinessInfo says (2.5) -----------------------------------------------------------------------------


def _entities(told: Any) -> dict[str, _Entity]:
    entries = told.get("Entrys") if isinstance(told, dict) else None
    found = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            fields = [one for one in _list(entry.get("Fields")) if isinstance(one, dict)]
            found[str(entry.get("Key")).upper()] = _Entity(
                _label(entry),
                {str(one.get("Key")).upper(): _label(one) for one in fields},
                {str(one.get("Key")).upper(): _options(one) for one in fields},
            )
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _label(described: Mapping[str, Any]) -> str:
    names = [one for one in _list(described.get("Name")) if isinstance(one, dict)]
    return next((str(one.get("Value")) for one in names if str(one.get("Key")) == "2052"), "")


def _options(described: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(one.get("Value")) for one in _list(described.get("Extends")) if isinstance(one, dict))


async def _contact_key(site: _Site) -> Seen:
    entity = (await site.entities(CUSTOMER)).get("FT_BD_CUSTLOCATION")
    if entity is None:
        return "unclear", "entity not listed"
    like = sorted(key for key in entity.labels if "CONTACT" in key and _STANDARD_KEY.fullmatch(key))
    there = "FCONTACTID" in entity.labels
    return _judge(
        there, f"fields {len(entity.labels)}; key there: {_yes(there)}; alike: {', '.join(like[:5])}"
    )


async def _contact_fields(site: _Site) -> Seen:
    entities = await site.entities(CONTACT)
    keys = {key for entity in entities.values() for key in entity.labels}
    if not keys:
        return "unclear", "form not described"
    there = {name: name.upper() in keys for name in ("FTel", "FSex", "FDescription")}
    return _judge(all(there.values()), "; ".join(f"{name}: {_yes(one)}" for name, one in there.items()))


async def _business_type(site: _Site) -> Seen:
    entities = await site.entities(RECEIPT)
    listed = next(
        (one.options["FBUSINESSTYPE"] for one in entities.values() if "FBUSINESSTYPE" in one.options), ()
    )
    if listed:
        codes = [code for code in listed if _SHORT_CODE.fullmatch(code)]
        return _judge("1" in codes, f"codes {len(listed)}: {' '.join(codes[:20])}")
    used = await site.count(RECEIPT, "FBUSINESSTYPE='1'")
    others = await site.count(RECEIPT, "FBUSINESSTYPE<>'1'")
    seen = f"codes not listed; documents with 1: {_yes(used)}; with another: {_yes(others)}"
    return ("confirmed" if used else "contradicted" if others else "unclear"), seen


async def _unit_label(site: _Site) -> Seen:
    return await _labels(site, {("", "FCONTACTUNIT"): "往来单位"})


async def _row_labels(site: _Site) -> Seen:
    rows = "FRECEIVEBILLENTRY"
    return await _labels(site, {(rows, ""): "收款单明细", (rows, "FSETTLETYPEID"): "结算方式"})


async def _labels(site: _Site, expected: Mapping[tuple[str, str], str]) -> Seen:
    """Compare labels of the receipt; a label itself is not shown, for a site may have renamed it."""
    entities = await site.entities(RECEIPT)
    if not entities:
        return "unclear", "form not described"
    same = {}
    for (entity, name), label in expected.items():
        told = [
            one.labels.get(name, "") if name else one.label
            for key, one in entities.items()
            if not entity or key == entity
        ]
        same[name or entity] = label in told
    return _judge(
        all(same.values()), "; ".join(f"{key} as expected: {_yes(one)}" for key, one in same.items())
    )


def _yes(held: object) -> str:
    return "yes" if held else "no"


# what queries and signatures say -------------------------------------------------------------------------------


async def _quote(site: _Site) -> Seen:
    """A doubled quote is read; a name that holds one, if there is any, is found by it."""
    try:
        await site.count(CUSTOMER, f"FName={literal(chr(39))}")
        held = await site.client.query(CUSTOMER, ("FName",), "FName like '%''%'", limit=1)
        found = await site.count(CUSTOMER, f"FName={literal(held[0]['FName'])}") if held else 0
    except RemoteError as error:
        if not _is_refusal(error):
            raise
        return "contradicted", _said(error)
    return _judge(
        not held or bool(found), f"read; names with a quote: {_yes(held)}; found by it: {_yes(found)}"
    )


async def _audit_time(site: _Site) -> Seen:
    """An audit that moves FModifyDate leaves it at FAPPROVEDATE, one that does not leaves it before."""
    columns = ("FModifyDate", "FAPPROVEDATE")
    rows = await site.client.query(
        RECEIPT, columns, "FDocumentStatus='C'", order="FAPPROVEDATE DESC,FID DESC", limit=SAMPLE
    )
    pairs = [(_moment(row["FModifyDate"]), _moment(row["FAPPROVEDATE"])) for row in rows]
    known = [(modified, audited) for modified, audited in pairs if modified and audited]
    timed = [pair for pair in known if pair[1].time() != datetime.min.time()]  # a date alone says nothing
    before = sum(modified < audited - AT_ONCE for modified, audited in timed)
    at_once = sum(abs(modified - audited) <= AT_ONCE for modified, audited in timed)
    seen = f"audited receipts {len(rows)}, with both times {len(timed)}: FModifyDate before {before}, at once {at_once}"
    return ("contradicted" if before else "confirmed" if at_once else "unclear"), seen


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=None)
    except (TypeError, ValueError):
        return None


async def _main_book_case(site: _Site) -> Seen:
    took = {name: await site.takes(RECEIPT, f"FSETTLEMAINBOOKID.{name}") for name in ("FNUMBER", "FNumber")}
    if set(took.values()) == {"yes"}:
        return "unclear", _told(took)  # a query that takes both does not say which one is the template's
    return _judge(took["FNUMBER"] == "yes", _told(took))


async def _reference_case(site: _Site) -> Seen:
    names = ("FBillTypeID.FNUMBER", "FBillTypeID.FNumber", "FCURRENCYID.FNumber", "FCURRENCYID.FNUMBER")
    took = {name: await site.takes(RECEIPT, name) for name in names}
    return _judge(set(took.values()) == {"yes"}, _told(took))


def _told(took: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {said}" for name, said in took.items())


async def _nonce(site: _Site) -> Seen:
    """Sign two sessions with one number; the SDKs use the time as the nonce."""
    at = site.clock.now() // SECOND - FRESH
    if (first := await _accepted(site, at)) != "yes":
        return "unclear", f"first use {first}"
    again = await _accepted(site, at)
    return _judge(again != "yes", f"first use accepted; second accepted: {again}")


async def _age(site: _Site) -> Seen:
    """Find the first age that is refused; no more is tried then, for nobody knows what refusals add up to."""
    now = site.clock.now() // SECOND
    accepted: list[str] = []
    for age in AGES:
        if (said := await _accepted(site, now - age)) != "yes":
            return "confirmed", f"{said} at {age} s; accepted at {' '.join(accepted) or 'none'}"
        accepted.append(f"{age} s")
    return "contradicted", f"accepted at {', '.join(accepted)}"


async def _accepted(site: _Site, at: int) -> str:
    try:
        await site.client.sign_in(at)
    except RemoteError as error:
        if error.cause is not Cause.CREDENTIAL:
            raise
        return _said(error)
    return "yes"


POINTS: tuple[Point, ...] = (
    Point("1.2 LoginBySign: timestamp skew",
          "LoginBySign 接受的时间偏差；未测：登录被拒会计入用户锁定，连接器也不用登录",
          "the skew LoginBySign accepts; skipped: a refused login counts towards the user's lock, and none is used"),
    Point("1.2 LoginBySignature, ValidateUser2",
          "LoginBySignature、ValidateUser2 是否存在；未测：同上",
          "whether LoginBySignature and ValidateUser2 exist; skipped: as above"),
    Point("1.3 nonce reuse", "站点拒绝重复使用的 nonce", "the site refuses a nonce that was used before", _nonce),
    Point("2.6 quotes in FilterString", "FilterString 中单引号以双写转义", "a quote in FilterString is escaped by doubling",
          _quote),
    Point("3.1 Save on B: text", "对审核中单据保存的拒绝文字；未测：需要写入", "the refusal of a Save on status B; skipped: a write"),
    Point("3.1 references audited only", "API 只接受已审核的基础资料；未测：需要写入",
          "the API takes only audited base data as references; skipped: a write"),
    Point("3.1 Audit without Submit: text", "未提交就审核的拒绝文字；未测：需要写入",
          "the refusal of an Audit without Submit; skipped: a write"),
    Point("3.1 FDOCUMENTSTATUS in a Model", "Model 中 FDOCUMENTSTATUS 的作用；未测：需要写入",
          "what FDOCUMENTSTATUS does in a Model; skipped: a write"),
    Point("3.2 audit moves FModifyDate", "审核会更新 FModifyDate（以收款单的时间判断）",
          "an audit moves FModifyDate (judged by the times of receipts)", _audit_time),
    Point("3.3 FT_BD_CUSTLOCATION.FContactId", "客户联系人分录的字段标识是 FContactId",
          "the contact entry of a customer has the key FContactId", _contact_key),
    Point("3.4 contact fields", "联系人有 FTel、FSex、FDescription", "a contact has FTel, FSex and FDescription",
          _contact_fields),
    Point("3.7 FBUSINESSTYPE", "收款单业务类型包含代码 1", "the business types of a receipt include code 1", _business_type),
    Point("3.7 text: unknown unit", "必填项提示中的字段名是“往来单位”（提示全文需要写入才能看到）",
          "the label in the text of a missing unit is 往来单位 (the whole text takes a write)", _unit_label),
    Point("3.7 text: unknown number", "编号不存在时的提示文字；未测：需要写入",
          "the text for a number that does not exist; skipped: a write"),
    Point("3.7 text: missing row field", "明细必填提示中的名称是“收款单明细”“结算方式”（全文需要写入才能看到）",
          "the labels in the text of a missing row field are 收款单明细, 结算方式 (the whole text takes a write)", _row_labels),
    Point("3.8 FSETTLEMAINBOOKID inner key", "FSETTLEMAINBOOKID 的内层键是 FNUMBER（查询中；保存时未测）",
          "the inner key of FSETTLEMAINBOOKID is FNUMBER (in queries; in a Save it stays open)", _main_book_case),
    Point("3.8 case of inner keys", "内层键不区分大小写（查询中；保存时未测）",
          "inner reference keys are taken in any case (in queries; in a Save it stays open)", _reference_case),
    Point("4 settle_after", "应答丢失后保存最晚何时生效；未测：需要写入",
          "how long a Save may take effect after its answer was lost; skipped: a write"),
    Point("4 ValidateRepeatJson", "ValidateRepeatJson 的时间窗与提示；未测：需要写入",
          "window and message of ValidateRepeatJson; skipped: a write"),
    Point("5 events to the outside", "是否有对外的事件订阅；未测：没有任何接口能显示",
          "whether events to the outside exist; skipped: no call would show it"),
    Point("7 other product lines", "星辰、苍穹的未证实之处；未测：本连接器只连星空",
          "the open points of 星辰 and 苍穹; skipped: this connector speaks to 星空 only"),
    Point("9 unknown key in a Model", "Model 中未知字段被静默忽略；未测：需要写入",
          "an unknown key in a Model is ignored silently; skipped: a write"),
    Point("1.3 age of a timestamp", "站点检查签名时间戳的新旧", "the site checks how old a signature's timestamp is", _age),
)  # fmt: skip
"""Every UNCONFIRMED point by its section; the one that may be refused on purpose comes last."""
