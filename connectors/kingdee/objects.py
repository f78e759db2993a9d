"""The two forms the hub uses, as the fact sheet lists them (3.1, 3.3, 3.7), and the spec made from them.

Field names are Kingdee's own, in the case of its API templates. Types: see ``hub.sdk.StreamSpec``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.kingdee.outcomes import OUTCOMES
from hub.sdk import Budget, ConnectorSpec, Delivery, ObjectSpec, SettingSpec, Step, StreamSpec

__all__ = ["FORMS", "SPEC", "Form"]


def _fields(text: str, kind: str) -> dict[str, str]:
    return dict.fromkeys(text.split(), kind)


@dataclass(frozen=True, slots=True)
class Form:
    """What differs between the forms.

    ``pk``, ``number``, ``org``: keys of the id, the number other objects name it by, and the organisation that
    bounds a read. ``times``: what a poll filters on (3.2). ``head``, ``rows``: writable fields with their types;
    ``shown``: further fields a read brings. ``entry``: key of the entity that holds the rows. ``same``: fields of
    which one must agree before an object under our number counts as ours.
    """

    object: str
    form: str
    pk: str
    number: str
    org: str
    times: tuple[str, ...]
    head: Mapping[str, str]
    shown: Mapping[str, str]
    required: tuple[str, ...]
    entry: str = ""
    rows: Mapping[str, str] = field(default_factory=dict)
    same: tuple[str, ...] = ()

    @property
    def written(self) -> dict[str, str]:
        """Return every writable field, rows as ``ENTRY[].FIELD``."""
        return {**self.head, **{f"{self.entry}[].{name}": kind for name, kind in self.rows.items()}}

    @property
    def read(self) -> dict[str, str]:
        """Return every field a stream record carries: the head alone, for rows repeat it (2.6)."""
        return {**self.shown, **self.head}


CUSTOMER = Form(
    object="customer",
    form="BD_Customer",
    pk="FCUSTID",
    number="FNumber",
    org="FUseOrgId.FNumber",
    times=("FModifyDate",),
    head={
        **_fields("FCreateOrgId.FNumber FUseOrgId.FNumber FNumber FName FShortName", "text"),
        **_fields("FCOUNTRY.FNumber FPROVINCIAL.FNumber FADDRESS FZIP FWEBSITE FTEL FFAX", "text"),
        **_fields("FSOCIALCRECODE FLegalPerson FRegisterAddress FINVOICETITLE FTAXREGISTERCODE", "text"),
        **_fields("FINVOICEBANKNAME FINVOICETEL FINVOICEBANKACCOUNT FINVOICEADDRESS FInvoiceType", "text"),
        **_fields("FGroup.FNumber FCustTypeId.FNumber FTRADINGCURRID.FNumber FSALDEPTID.FNumber", "text"),
        **_fields("FSELLER.FNumber FSETTLETYPEID.FNumber FRECCONDITIONID.FNumber FTaxType.FNumber", "text"),
        **_fields("FTaxRate.FNumber FDescription", "text"),
    },
    shown={
        **_fields("FCUSTID", "integer"),
        **_fields("FDocumentStatus FForbidStatus", "text"),
        **_fields("FModifyDate FCreateDate", "instant"),
    },
    required=("FCreateOrgId.FNumber", "FName", "FTRADINGCURRID.FNumber"),
    rows={},
    same=("FName", "FSOCIALCRECODE"),
)

RECEIPT = Form(
    object="receipt",
    form="AR_RECEIVEBILL",
    pk="FID",
    number="FBillNo",
    org="FPAYORGID.FNumber",
    times=("FModifyDate", "FAPPROVEDATE"),
    head={
        **_fields("FBillTypeID.FNUMBER FBillNo FCONTACTUNITTYPE FCONTACTUNIT.FNumber FPAYUNITTYPE", "text"),
        **_fields("FPAYUNIT.FNumber FCURRENCYID.FNumber FPAYORGID.FNumber FSETTLEORGID.FNumber", "text"),
        **_fields("FSALEORGID.FNumber FSALEDEPTID.FNumber FSALEERID.FNumber FSETTLECUR.FNUMBER", "text"),
        **_fields("FSETTLEMAINBOOKID.FNUMBER FBUSINESSTYPE FCancelStatus FTHIRDBILLNO FREMARK", "text"),
        **_fields("FDATE", "date"),
        **_fields("FEXCHANGERATE FSETTLERATE", "decimal"),
    },
    shown={
        **_fields("FID", "integer"),
        **_fields("FDocumentStatus", "text"),
        **_fields("FModifyDate FCreateDate FAPPROVEDATE", "instant"),
    },
    required=(
        "FBillTypeID.FNUMBER", "FDATE", "FCONTACTUNITTYPE", "FCONTACTUNIT.FNumber", "FPAYUNITTYPE",
        "FPAYUNIT.FNumber", "FCURRENCYID.FNumber", "FPAYORGID.FNumber", "FSETTLECUR.FNUMBER",
        "FSETTLEMAINBOOKID.FNUMBER", "FBUSINESSTYPE", "FCancelStatus",
        "FRECEIVEBILLENTRY[].FSETTLETYPEID.FNumber", "FRECEIVEBILLENTRY[].FPURPOSEID.FNumber",
        "FRECEIVEBILLENTRY[].FPOSTDATE",
    ),
    entry="FRECEIVEBILLENTRY",
    rows={
        **_fields("FSETTLETYPEID.FNumber FPURPOSEID.FNumber FACCOUNTID.FNumber FSETTLENO FCOMMENT", "text"),
        **_fields("FRECEIVEITEMTYPE FRECEIVEITEM FSALEORDERNO FOPPOSITEBANKACCOUNT", "text"),
        **_fields("FOPPOSITECCOUNTNAME FOPPOSITEBANKNAME", "text"),
        **_fields("FRECTOTALAMOUNTFOR FRECAMOUNTFOR_E FRECAMOUNT_E FSETTLEDISTAMOUNTFOR", "decimal"),
        **_fields("FSETTLERECAMOUNTFOR FREALRECAMOUNTFOR_D FHANDLINGCHARGEFOR FOVERUNDERAMOUNTFOR", "decimal"),
        **_fields("FPOSTDATE", "date"),
    },
)  # fmt: skip

FORMS: Mapping[str, Form] = {form.object: form for form in (CUSTOMER, RECEIPT)}
"""Object and stream name -> form."""

SETTLE_AFTER = 150.0
"""Seconds a Save may still be applied after its answer was lost; UNCONFIRMED (4), hence a setting."""

_STEPS = {
    name: Step(name, Delivery.FINDABLE, findable=True, reopens=name == "unaudit")
    for name in ("save", "submit", "audit", "cancel", "unaudit")
}
_TITLES = {"customer": ("客户", "customer"), "receipt": ("收款单", "receipt")}


def _object(form: Form, *, stop_at: str, on_audited: str) -> ObjectSpec:
    zh, en = _TITLES[form.object]
    return ObjectSpec(
        name=form.object,
        title_zh=zh,
        title_en=en,
        fields=form.written,
        steps=_STEPS,
        settle_after=SETTLE_AFTER,
        finish={"saved": (), "submitted": ("submit",), "audited": ("submit", "audit")},
        reopen={"B": ("cancel",), "C": ("unaudit",)},
        reached={"B": 1, "C": 2},
        stop_at=stop_at,
        on_audited=on_audited,
        stream=form.object,
        batch=10,
        required=form.required,
    )


def _stream(form: Form) -> StreamSpec:
    zh, en = _TITLES[form.object]
    # No complete sweep: rows outside the user's data permission are silently absent (2.6, 8.3.11).
    return StreamSpec(
        name=form.object,
        title_zh=zh,
        title_en=f"{en}s",
        primary_key=(form.pk,),
        fields=form.read,
        object=form.object,
        change_time="FModifyDate",
    )


def _settings() -> tuple[SettingSpec, ...]:
    return (
        SettingSpec("server_url", "url", "站点地址，以 /k3cloud/ 结尾", "site address ending in /k3cloud/"),
        SettingSpec("acct_id", "text", "数据中心 ID（账套 ID）", "data centre id (acctId)"),
        SettingSpec("user_name", "text", "集成用户", "integration user"),
        SettingSpec("app_id", "text", "应用 ID（第三方系统登录授权）", "app id of the third-party login grant"),
        SettingSpec("app_secret", "secret", "应用密钥", "app secret"),
        SettingSpec("lcid", "integer", "语言：2052 简体中文", "language: 2052 simplified Chinese", default=2052),
        SettingSpec("org_num", "text", "登录组织编码", "number of the organisation to sign in to", default="0"),
        SettingSpec("time_zone", "number", "站点时区（相对 UTC 的小时）", "the site's offset to UTC in hours", default=8.0,
                    low=-14, high=14),
        SettingSpec("sessions", "integer", "并行会话数", "sessions used at the same time", default=3, low=1, high=10),
        SettingSpec(
            "settle_after", "number", "应答丢失后写入仍可能生效的秒数（未经证实）",
            "seconds a write may take effect after its answer was lost (UNCONFIRMED)", default=SETTLE_AFTER,
            low=0.001, high=86_400,
        ),
        SettingSpec("page_size", "integer", "每页行数（旧版本最多 2000）", "rows a page (older sites: 2000)", default=2000,
                    low=1, high=10_000),
        SettingSpec("overlap", "number", "增量读取回看的秒数", "seconds a poll looks back", default=300.0, low=0, high=86_400),
        SettingSpec(
            "receipt_key_field", "text", "收款单上存放我方单号的字段", "receipt field that holds our number",
            default="FTHIRDBILLNO",
        ),
    )  # fmt: skip


SPEC = ConnectorSpec(
    name="kingdee",
    title_zh="金蝶云·星空",
    title_en="Kingdee Cloud Galaxy",
    settings=_settings(),
    streams={form.object: _stream(form) for form in FORMS.values()},
    objects={
        "customer": _object(CUSTOMER, stop_at="audited", on_audited="unaudit"),
        "receipt": _object(RECEIPT, stop_at="saved", on_audited="park"),
    },
    budgets=(Budget("sessions", scope="account", kind="slots", limit=3),),
    codes={code: outcome.public for code, outcome in OUTCOMES.items()},
)
"""What the hub knows of Kingdee before it runs."""
