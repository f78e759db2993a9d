"""The kinds of record and their fields: those companies really fill; the rest goes to ``custom``.

A body is flat JSON, {field: value}; money is a decimal text, a reference is a record id of 32 hex digits, and a
custom value stands under the key ``custom.<name>``; rows of a record (``lines``) are a list of objects. Field lists:
crm.md 1.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import orjson

from hub.model import money, text
from hub.model.dealings import APPROVAL, CONSENT, CONTRACT, PAYMENT
from hub.model.fields import COMPARED, STORED, Field, InvalidField, InvalidFields
from hub.model.kind import CUSTOM, TAGS, Kind, declare
from hub.model.names import nearest
from hub.model.record import Json, Missing

__all__ = [
    "KINDS",
    "Kind",
    "check_body",
    "digest_form",
    "key_values",
    "misplaced",
    "normal_form",
    "normalise",
    "strange_tags",
]

_MOST_CUSTOM: Final = 200

_TYPES: Final = ("customer", "partner", "supplier", "competitor", "reseller")
_STATUSES: Final = ("prospect", "active", "dormant", "lost")

_CUSTOMER: Final = declare(
    "customer",
    "客户",
    "Customer",
    Field("name", "company", "客户名称", "Name", required=True, max_length=200),
    Field("name_short", "text", "简称", "Short name", max_length=100),
    Field("account_no", "text", "客户编码", "Account number", max_length=80),
    Field("uscc", "credit_code", "统一社会信用代码", "Credit code", max_length=40),
    Field("tax_no", "text", "纳税登记号", "Tax number", max_length=50),
    Field("type", "choice", "类型", "Type", choices=_TYPES),
    Field("level", "text", "客户级别", "Level", max_length=50),
    Field("industry", "text", "行业", "Industry", max_length=100),
    Field("source", "text", "来源", "Source", max_length=100),
    Field("status", "choice", "状态", "Status", choices=_STATUSES),
    Field("phone", "phone", "电话", "Phone", personal=True, max_length=60),
    Field("email", "email", "邮箱", "E-mail", personal=True, max_length=254),
    Field("website", "text", "网址", "Website"),
    Field("country", "text", "国家", "Country", max_length=60),
    Field("province_code", "text", "省份代码", "Province code", max_length=20),
    Field("city_code", "text", "城市代码", "City code", max_length=20),
    Field("street", "text", "地址", "Street"),
    Field("postal_code", "text", "邮编", "Postal code", max_length=20),
    Field("invoice_title", "company", "发票抬头", "Invoice title", max_length=200),
    Field("invoice_bank", "text", "开户银行", "Bank", max_length=200),
    Field("invoice_account_no", "text", "银行账号", "Bank account", max_length=60),
    Field("credit_limit", "money", "信用额度", "Credit limit"),
    Field("payment_term_days", "integer", "账期天数", "Payment term in days"),
    Field("entity", "text", "签约主体", "Legal entity", max_length=80),
    Field("remark", "text", "备注", "Remark", max_length=4000),
    strong=("uscc",),
    match=("phone", "email", "name"),
    cores=("name",),
)

_CONTACT: Final = declare(
    "contact",
    "联系人",
    "Contact",
    Field("name", "text", "姓名", "Name", required=True, personal=True, max_length=100),
    Field("customer", "reference", "客户", "Customer", reference="customer"),
    Field("company_name", "company", "公司全称", "Company's full name", max_length=200),
    Field("role", "text", "角色", "Role", max_length=50),
    Field("title", "text", "职务", "Title", max_length=100),
    Field("department", "text", "部门", "Department", max_length=100),
    Field("mobile", "phone", "手机", "Mobile", personal=True, max_length=60),
    Field("mobiles", "phones", "全部手机", "All mobiles", personal=True, max_length=60),
    Field("phone", "phone", "电话", "Phone", personal=True, max_length=60),
    Field("email", "email", "邮箱", "E-mail", personal=True, max_length=254),
    Field("wechat_unionid", "text", "微信 UnionID", "WeChat union id", personal=True, max_length=100),
    Field(
        "wecom_external_userid",
        "text",
        "企业微信外部联系人",
        "WeCom external id",
        personal=True,
        max_length=100,
    ),
    Field("gender", "choice", "性别", "Gender", personal=True, choices=("male", "female", "unknown")),
    Field("birthday", "date", "生日", "Birthday", personal=True),
    Field("do_not_call", "flag", "勿打扰", "Do not call"),
    Field("email_opt_out", "flag", "退订邮件", "E-mail opt-out"),
    Field("tags", "texts", "标签", "Tags", max_length=100),
    Field("remark", "text", "备注", "Remark", max_length=4000),
    strong=("wechat_unionid",),
    match=("mobile", "mobiles", "email"),
)

_FOLLOW: Final = declare(
    "follow",
    "跟进关系",
    "Follow",
    Field("contact", "reference", "联系人", "Contact", required=True, reference="contact"),
    Field("employee", "text", "员工", "Employee", required=True, max_length=100),
    Field("since", "instant", "开始时间", "Since"),
    Field(
        "state", "choice", "状态", "State", choices=("active", "deleted_by_employee", "deleted_by_contact")
    ),
    Field("deleted_by_contact_at", "instant", "客户删除时间", "Deleted by the contact at"),
    Field("way", "text", "添加方式", "Way added", max_length=60),
    Field("remark", "text", "备注名", "Remark", personal=True, max_length=500),
    Field("mobiles", "phones", "备注手机", "Remark mobiles", personal=True, max_length=60),
    Field("company_name", "company", "备注企业", "Remark company", max_length=200),
    Field("tags", "texts", "标签", "Tags", max_length=100),
)

_EMPLOYEE: Final = declare(
    "employee",
    "员工",
    "Employee",
    Field("code", "text", "员工编码", "Code", required=True, max_length=100),
    Field("name", "text", "姓名", "Name", personal=True, max_length=100),
    Field("title", "text", "职务", "Title", max_length=100),
    Field("region", "text", "大区", "Region", max_length=200),
    Field("status", "choice", "状态", "Status", choices=("active", "disabled", "left")),
    strong=("code",),
)

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (APPROVAL, CONSENT, _CONTACT, CONTRACT, _CUSTOMER, _EMPLOYEE, _FOLLOW, PAYMENT)
    }
)
"""Every kind by name."""


def normalise(kind: Kind, field: str, value: Json) -> Json:
    """Return the form in which a field's value is stored.

    Texts are kept as they came; dates, phones, codes and money get their one form. Null stays null; it also takes
    away what a record still holds under a custom name that is declared no more.

    Raises:
        InvalidField: unknown field, or a value its type does not take.
    """
    known = kind.field(field)
    if known is None and (value is not None or kind.held(field) is None):
        raise InvalidField(field, _unknown(kind, field))
    if known is None or value is None:
        return None
    try:
        return STORED[known.type](known, value)
    except ValueError as error:
        raise InvalidField(field, str(error)) from None


def _unknown(kind: Kind, name: str) -> str:
    near = kind.nearest(name)
    hint = f"; did you mean {near!r}?" if near else ""
    if kind.custom is None or kind.held(name) is None:
        return f"is not a field of {kind.name}{hint}"
    return (
        f"is not a custom field of {kind.name}{hint}; declare it in fields/{kind.name}.yaml, "
        "or send null to take away what a record still holds"
    )


def check_body(
    kind: Kind, body: Json, *, complete: bool = True, region: str | None = None
) -> dict[str, Json]:
    """Return a body from outside in stored form; with ``complete`` false required fields may be absent.

    ``region``: where the record lies; None: what depends on it is not looked at.

    Raises:
        InvalidFields: not an object, unknown fields, values of a wrong type, required fields absent or blank,
            amounts with more decimals than their currency has, fields and tags that the region does not have; all
            problems at once.
    """
    if not isinstance(body, dict):
        raise InvalidFields([("", "the body must be a JSON object")])
    problems: list[tuple[str, str]] = []
    checked: dict[str, Json] = {}
    for name, value in body.items():
        try:
            checked[name] = normalise(kind, name, value)
        except InvalidField as error:
            problems.append((error.field[:80], error.message))
    if sum(name.startswith(CUSTOM) for name in checked) > _MOST_CUSTOM:
        problems.append(("custom", f"more than {_MOST_CUSTOM} custom fields"))
    invalid = {name for name, _ in problems}
    needed = kind.required if region is None else kind.required_in(region)
    problems += [
        (name, "is required")
        for name in needed
        if name not in invalid and (complete or name in body) and _blank(checked.get(name))
    ]
    problems += _surplus_decimals(kind, checked)
    if region is not None:
        problems += misplaced(kind, checked, region)
    if problems:
        raise InvalidFields(problems)
    return checked


def misplaced(kind: Kind, body: Mapping[str, Json], region: str) -> list[tuple[str, str]]:
    """Return the values of a body in stored form that a record of this region cannot have: (field, what is wrong)."""
    problems = [
        (name, f"exists only in {', '.join(kind.regional[name].regions)}; this record lies in {region or '/'}: leave it out")
        for name in kind.hidden(region, (name for name, value in body.items() if value is not None))
    ]  # fmt: skip
    return problems + strange_tags(kind, body, region)


def strange_tags(kind: Kind, body: Mapping[str, Json], region: str) -> list[tuple[str, str]]:
    """Return the tags that the lists of this region do not have: (field, what is wrong), one a tag."""
    tags = body.get(TAGS) if kind.tags else None
    allowed = kind.tags_of(region) if isinstance(tags, list) else None
    if allowed is None or not isinstance(tags, list):
        return []
    problems = []
    for tag in tags:
        if isinstance(tag, str) and tag not in allowed:
            near = nearest(tag, allowed)
            hint = f"; did you mean {near!r}?" if near else ""
            text_ = f"{tag[:80]!r} is no tag of {region or '/'} (fields/{kind.name}.yaml){hint}"
            problems.append((TAGS, text_))
    return problems


def _blank(value: Json) -> bool:
    return value is None or (isinstance(value, str) and not text.key_text(value))


def _surplus_decimals(kind: Kind, body: Mapping[str, Json]) -> list[tuple[str, str]]:
    problems = _surplus([*kind.fields.values(), *(kind.custom or {}).values()], body, body)
    for field in kind.fields.values():
        rows = body.get(field.name) if field.columns else None
        for number, row in enumerate(rows if isinstance(rows, list) else ()):
            found = _surplus(field.columns, row, body) if isinstance(row, dict) else []
            problems += [(f"{field.name}[{number}].{name}", message) for name, message in found]
    return problems


def _surplus(
    fields: Iterable[Field], values: Mapping[str, Json], body: Mapping[str, Json]
) -> list[tuple[str, str]]:
    """Return the amounts with more decimals than their currency; it stands in the body, for rows too."""
    problems = []
    for field in fields:
        amount, currency = values.get(field.name), body.get(field.currency_field or "")
        if isinstance(amount, str) and isinstance(currency, str):
            exact = Decimal(amount)
            if money.quantise(exact, currency) != exact:
                problems.append(
                    (field.name, f"has more decimals than {currency}: at most {money.exponent(currency)}")
                )
    return problems


def normal_form(kind: Kind, field: str, value: Json | Missing) -> Json | Missing:
    """Return the form in which two values of a field are compared; null, absent and empty stay distinct.

    ``value`` is in stored form. Companies are compared by normal name, texts as NFC without outer blanks, lists unordered.
    """
    known = kind.held(field)
    if known is None:
        raise InvalidField(field, f"is not a field of {kind.name}")
    if value is None or isinstance(value, Missing):
        return value
    form = COMPARED.get(known.type)
    if form is None or (known.name.startswith(CUSTOM) and not _fits(known, value)):
        return value  # what is kept from before a field changed its type is compared as it stands
    return form(value)


def _fits(field: Field, value: Json) -> bool:
    """Tell whether a custom value has the shape of its field's type: a text, or a list of texts."""
    if field.type in ("phones", "texts"):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def digest_form(kind: Kind, field: str, value: Json | Missing) -> bytes:
    """Return the canonical bytes of a value's normal form, for digests; absent is the empty byte string."""
    form = normal_form(kind, field, value)
    return b"" if isinstance(form, Missing) else orjson.dumps(form, option=orjson.OPT_SORT_KEYS)


def key_values(kind: Kind, body: Mapping[str, Json]) -> list[tuple[str, str, bool]]:
    """Return the keys a body has: (name, value, strong), strong keys first, then match keys, then references.

    The name is ``<kind>.<field>``; a reference's is ``<kind>.<field>`` too, with the record id as value.
    """
    found = []
    for field, name, form, strong in kind.keys:
        value = body.get(field)
        if value is None:  # most are
            continue
        values = value if isinstance(value, list) else (value,)
        found += [(name, key, strong) for one in values if isinstance(one, str) and (key := form(one))]
    return found
