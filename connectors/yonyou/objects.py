"""The two objects the hub uses, as the fact sheet lists them (2.1, 2.3), and the spec made from them.

Field names are YonBIP's own. A receipt has the names of the new finance generation (EFI); the older one is translated
(:mod:`connectors.yonyou.receivebill`). Types: see ``hub.sdk.StreamSpec``.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.yonyou.outcomes import OUTCOMES
from hub.sdk import Budget, ConnectorSpec, Delivery, ObjectSpec, SettingSpec, Step, StreamSpec

__all__ = [
    "ACKS",
    "COLLECTION",
    "CUSTOMER",
    "CUSTOMER_READ",
    "LINES",
    "RECEIPT",
    "RECEIPT_READ",
    "RECEIVEBILL",
    "ROW_KEYS",
    "SPEC",
]

COLLECTION, RECEIVEBILL = "collection", "receivebill"
"""The generations of receipts: setting ``receipts``."""
ACKS = ("plain", "encrypted")
LINES = "bodyItem"


def _fields(text: str, kind: str = "text") -> dict[str, str]:
    return dict.fromkeys(text.split(), kind)


def _rows(table: str, text: str, kind: str = "text") -> dict[str, str]:
    return {f"{table}[].{name}": kind for name in text.split()}


CUSTOMER: Mapping[str, str] = {
    **_fields("code name.simplifiedName createOrgCode transTypeCode shortname.simplifiedName countryCode customerClassCode"),
    **_fields("customerIndustryCode parentCustomerCode enterpriseName personName orgName creditCode contactName contactTel"),
    **_fields("address.simplifiedName regionCode email fax"),
    **_fields("enterpriseNature licenseType", "integer"),
    **_rows("merchantAddressInfos", "addressCode address regionCode receiver mobile telePhone email zipCode remarks stopStatus"),
    **_rows("merchantAddressInfos", "isDefault", "flag"),
    **_rows("merchantContactInfos", "fullName.simplifiedName positionName areaCodeMobile mobile telePhone email qq weChat remarks"),
    **_rows("merchantContactInfos", "gender", "integer"),
    **_rows("merchantContactInfos", "isDefault", "flag"),
    **_rows("merchantAgentFinancialInfos", "currencyName accountType bankName openBankName bankAccount"),
    **_rows("merchantAgentFinancialInfos", "bankAccountName.simplifiedName jointLineNo"),
    **_rows("merchantAgentFinancialInfos", "isDefault", "flag"),
    **_rows("merchantAgentInvoiceInfos", "bdBillingTypeName bdBillingTypeCode title taxNo receievInvoiceMobile receievInvoiceEmail"),
    **_rows("merchantAgentInvoiceInfos", "isDefault", "flag"),
    **_rows("merchantApplyRanges", "orgIdCode"),
    **_fields("merchantAppliedDetail.searchCode merchantAppliedDetail.customerLevelCode"),
    **_fields("merchantAppliedDetail.transactionCurrencyName merchantAppliedDetail.settlementMethodName"),
}  # fmt: skip
"""What `newinsert` and `newupdate` take (2.1)."""

ROW_KEYS: Mapping[str, tuple[str, ...]] = {
    "merchantAddressInfos": ("addressCode",),
    "merchantContactInfos": ("fullName", "mobile"),
    "merchantAgentFinancialInfos": ("bankAccount",),
    "merchantAgentInvoiceInfos": ("title", "taxNo"),
    "merchantApplyRanges": ("orgIdCode",),
}
"""Sub-table -> what tells its rows apart: an update must name the id of the row it means (2.1)."""

CUSTOMER_READ: Mapping[str, str] = {
    **_fields(
        "id code name.simplifiedName shortname.simplifiedName createOrgCode belongOrgCode transTypeCode"
    ),
    **_fields("customerClassCode customerIndustryCode enterpriseName creditCode contactName contactTel"),
    **_fields("address.simplifiedName regionCode countryName email fax website postCode"),
    **_fields("enterpriseNature licenseType taxPayingCategories", "integer"),
    **_fields("stopStatus", "flag"),
    **_fields("createTime modifyTime pubts", "instant"),
}

RECEIPT: Mapping[str, str] = {
    **_fields("extVouchCode code financeOrgCode bustypeCode orgCode oriCurrencyCode objectType customerCode"),
    **_fields("exchangeRateTypeCode settleModeCode enterpriseBankAccountNo enterpriseCashAccountNo customerBankAccountNo"),
    **_fields("deptCode staffCode projectCode contractNo remarks srcBillType orderNo srcBillId sourceId bizFlowMakeBillCode"),
    **_fields("billDate exchangeRateDate", "date"),
    **_fields("exchangeRate", "decimal"),
    **_rows(LINES, "quickTypeCode customerCode orgCode orderNo contractNo invoiceNo extRowNo materialCode expenseItemCode remarks"),
    **_rows(LINES, "oriTaxIncludedAmount localTaxIncludedAmount", "decimal"),
    **_rows(LINES, "expireDate", "date"),
}  # fmt: skip
"""What `save` takes (2.3 a)."""

RECEIPT_READ: Mapping[str, str] = {
    **_fields("id code extSystemCode extVouchCode financeOrgCode"),
    **_fields("verifyState status effectState settleState postStatus writeOffState srcSystem", "integer"),
    **_fields("oriTaxIncludedAmount localTaxIncludedAmount", "decimal"),
    **_fields("billDate", "date"),
    **_fields("createTime pubts", "instant"),
}
"""The head alone: for lines the list repeats it, and its names for them drift (2.0)."""

KEY_WINDOW = 3600.0
"""Seconds the vendor answers the same key alike (2.0, MDD幂等)."""
SETTLE_AFTER = 180.0
"""Seconds a save may take: "some use 180 s" (6.30); how late a lost one may land is UNCONFIRMED, hence a setting."""

_CUSTOMER = ObjectSpec(
    name="customer",
    title_zh="客户档案",
    title_en="customer",
    fields=CUSTOMER,
    # Not keyed although `newinsert` is: the update of the same step takes no key, so a late copy of it must be waited for.
    steps={"save": Step("save", Delivery.FINDABLE, findable=True)},
    settle_after=SETTLE_AFTER,
    stream="customer",
    batch=10,
    required=("code", "name.simplifiedName", "createOrgCode", "enterpriseNature"),
)

_RECEIPT = ObjectSpec(
    name="receipt",
    title_zh="收款单",
    title_en="receipt",
    fields=RECEIPT,
    steps={
        "save": Step("save", Delivery.KEYED, key_window=KEY_WINDOW, findable=True),
        **{
            name: Step(name, Delivery.FINDABLE, findable=True, reopens=name not in ("submit", "audit"))
            for name in ("submit", "audit", "unsubmit", "unaudit", "delete")
        },
    },
    settle_after=SETTLE_AFTER,
    finish={"saved": (), "submitted": ("submit",), "audited": ("submit", "audit")},
    # It takes no edits: what is there goes, and `delete` ends as Gone, so that what follows is a create (6.9).
    reopen={
        **dict.fromkeys(("0", "4"), ("delete",)),
        "1": ("unsubmit", "delete"),
        **dict.fromkeys(("2", "3"), ("unaudit", "unsubmit", "delete")),
    },
    reached={"1": 1, "2": 2},
    stop_at="saved",
    on_audited="park",
    stream="receipt",
    writes="whole",
    edits=False,
    batch=10,
    required=(
        "financeOrgCode", "billDate", "bustypeCode", "orgCode", "oriCurrencyCode", "objectType", "exchangeRateTypeCode",
        "exchangeRate", "exchangeRateDate", f"{LINES}[].oriTaxIncludedAmount", f"{LINES}[].localTaxIncludedAmount",
    ),
)  # fmt: skip

_STREAMS = (
    StreamSpec(
        "customer",
        "客户档案",
        "customers",
        ("id",),
        CUSTOMER_READ,
        object="customer",
        change_time="pubts",
        receive=True,
    ),
    # No receipt event is known (3.4): polled alone.
    StreamSpec("receipt", "收款单", "receipts", ("id",), RECEIPT_READ, object="receipt", change_time="pubts"),
)


def _settings() -> tuple[SettingSpec, ...]:
    return (
        SettingSpec(
            "directory_url", "url", "查询租户所在数据中心的地址", "address that tells a tenant's data centre",
            default="https://apigateway.yonyoucloud.com",
        ),
        SettingSpec("tenant_id", "text", "租户 ID（友互通 tenantId）", "tenant id (友互通 tenantId)"),
        SettingSpec("app_key", "text", "自建应用的 AppKey", "AppKey of the self-built app"),
        SettingSpec("app_secret", "secret", "自建应用的 AppSecret", "AppSecret of the self-built app"),
        SettingSpec(
            "org_code", "text", "客户所属管理组织的编码，与集成流的组织一致（事件里没有组织）",
            "code of the organisation that manages the customers, the same as the sync's (events name none)",
            required=False, default="",
        ),
        SettingSpec(
            "previous_app_secret", "secret", "更换期间仍接受其事件的旧 AppSecret",
            "the AppSecret before, whose events are still accepted while it is changed", required=False, default="",
        ),
        SettingSpec(
            "token_in", "text", "令牌的位置：query 查询参数，header 请求头（仅官方 SDK 如此，未经证实）",
            "where the token rides: query, or header (the official SDK alone does so: UNCONFIRMED)", required=False,
            default="query",
        ),
        SettingSpec(
            "receipts", "text", "收款单的版本：collection 新财务，receivebill 旧应收",
            "generation of receipts: collection (new finance) or receivebill (older receivables)", required=False,
            default=COLLECTION,
        ),
        SettingSpec(
            "ext_system_code", "text", "收款单上的外部系统编码（extSystemCode）", "extSystemCode of our receipts", required=False,
            default="CRMHUB",
        ),
        SettingSpec(
            "receive", "text", "callback 接收事件订阅，poll 只靠轮询", "callback: events are pushed; poll: reads alone",
            required=False, default="callback",
        ),
        SettingSpec(
            "callback_window", "number", "事件时间戳最多可早多少秒：重推持续 24 小时，是否重新签名未经证实",
            "seconds an event's timestamp may be old: pushes are repeated for 24 h, perhaps not signed anew (UNCONFIRMED)",
            required=False, default=90_000.0, low=1, high=604_800,
        ),
        SettingSpec(
            "callback_ack", "text", "事件应答：plain 明文 success，encrypted 加密信封（未经证实）",
            "answer to an event: plain success, or encrypted in the envelope (UNCONFIRMED)", required=False, default="plain",
        ),
        SettingSpec(
            "time_zone", "number", "pubts 的时区（相对 UTC 的小时，未经证实）", "offset of pubts to UTC in hours (UNCONFIRMED)",
            required=False, default=8.0, low=-14, high=14,
        ),
        SettingSpec("page_size", "integer", "每页行数（收款单最多 500）", "rows a page (receipts: 500 at most)", required=False,
                    default=500, low=1, high=500),
        SettingSpec("overlap", "number", "增量读取回看的秒数", "seconds a poll looks back", required=False, default=300.0, low=2,
                    high=86_400),
        SettingSpec(
            "per_minute", "integer", "每个接口每分钟的调用数（免费额度：财务 40，销售 60）",
            "calls of one API a minute (free quotas: 40 for finance, 60 for sales)", required=False, default=40, low=1,
            high=60_000,
        ),
        SettingSpec(
            "settle_after", "number", "应答丢失后写入仍可能生效的秒数（未经证实）",
            "seconds a write may take effect after its answer was lost (UNCONFIRMED)", required=False, default=SETTLE_AFTER,
            low=0.001, high=3_000,
        ),
    )  # fmt: skip


SPEC = ConnectorSpec(
    name="yonyou",
    title_zh="用友 YonBIP",
    title_en="Yonyou YonBIP",
    settings=_settings(),
    streams={stream.name: stream for stream in _STREAMS},
    objects={"customer": _CUSTOMER, "receipt": _RECEIPT},
    budgets=(Budget("calls", scope="api", kind="rate", limit=40, per=60.0, setting="per_minute"),),
    codes={code: outcome.public for code, outcome in OUTCOMES.items()},
)
"""What the hub knows of YonBIP before it runs."""
