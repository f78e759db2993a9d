"""What the hub knows of WeCom before it runs: settings, streams, objects, limits and codes."""

from __future__ import annotations

from connectors.wecom.approvals import APPROVAL_FIELDS
from connectors.wecom.directory import USER_FIELDS
from connectors.wecom.outcomes import NO_RELATION, OUTCOMES
from connectors.wecom.relations import CONTACT_FIELDS, FOLLOW_FIELDS
from hub.sdk import Approving, Budget, ConnectorSpec, Delivery, ObjectSpec, SettingSpec, Step, StreamSpec

__all__ = ["SPEC"]

SETTLE_AFTER = 60.0
SETTLE_APPROVAL = 120.0


def _settings() -> tuple[SettingSpec, ...]:
    return (
        SettingSpec(
            "base_url", "url", "接口地址，私有化部署时修改", "address of the API; another one for a private deployment",
            default="https://qyapi.weixin.qq.com",
        ),
        SettingSpec("corp_id", "text", "企业 ID（我的企业 → 企业信息）", "corp id (我的企业 → 企业信息)"),
        SettingSpec(
            "agent_id", "integer", "自建应用的 AgentId：回调必须发给此应用；不填则不比对",
            "AgentId of the self-built app: callbacks must be made for it; not compared if left out",
            required=False, default=0, low=0, high=2**53,
        ),
        SettingSpec("secret", "secret", "自建应用的 Secret", "Secret of the self-built app"),
        SettingSpec(
            "receive", "text", "callback 接收回调，poll 只靠读取", "callback, or poll: reads alone", required=False,
            default="callback",
        ),
        SettingSpec("token", "secret", "回调 Token", "Token of the callback", required=False),
        SettingSpec("encoding_aes_key", "secret", "回调 EncodingAESKey", "EncodingAESKey of the callback", required=False),
        SettingSpec(
            "previous_token", "secret", "更换期间仍接受的旧 Token", "the Token before, while both are in use",
            required=False, default="",
        ),
        SettingSpec(
            "previous_encoding_aes_key", "secret", "更换期间仍接受的旧 EncodingAESKey",
            "the EncodingAESKey before, while both are in use", required=False, default="",
        ),
        SettingSpec(
            "callback_window", "number", "回调时间戳允许的偏差（秒）", "seconds a callback's timestamp may be off",
            required=False, default=600.0, low=1, high=86_400,
        ),
        SettingSpec("tag_group", "text", "新建标签所在的标签组", "group in which missing tags are made", required=False, default="CRM"),
        SettingSpec(
            "clear_mobiles", "flag", '备注手机清空时发送 [""]（未经证实）', 'clear remark mobiles by sending [""] (UNCONFIRMED)',
            required=False, default=True,
        ),
        SettingSpec(
            "template_ids", "text", "读入的审批模板 ID，以逗号分隔；不填则不读取审批",
            "ids of the templates that are taken in, with commas between them; none: no approvals are read", required=False,
            default="",
        ),
        SettingSpec(
            "correlation_field", "text", "每个模板中承载中台编号的文本控件：名称或控件 id",
            "the Text control of each template that carries our number: name or id", required=False, default="CRM单号",
        ),
        SettingSpec(
            "verify_create", "flag", "发起后读一次审批单核对编号（多一次调用）", "read what was created once and compare our number (one more call)",
            required=False, default=True,
        ),
        SettingSpec(
            "history_days", "integer", "首次读取往回多少天提交的审批", "days back that the first read goes, by the submission of an approval",
            required=False, default=90, low=1, high=3_650,
        ),
        SettingSpec(
            "revocable_days", "integer", "通过后的撤销、删除、支付在提交后多少天内查找", "days after submission in which a revocation, deletion or payment after approval is looked for",
            required=False, default=90, low=1, high=3_650,
        ),
        SettingSpec(
            "find_days", "integer", "结果不明时往回多少天查找", "days back that a create of unknown outcome is looked for", required=False, default=30,
            low=1, high=365,
        ),
        SettingSpec(
            "time_offset", "text", "审批日期控件的时区", "offset in which dates of approvals are meant", required=False, default="+08:00",
        ),
        SettingSpec(
            "send_bank_account", "flag", "填写收款账户控件（提交格式未经证实）", "fill BankAccount controls (the shape of a submission is UNCONFIRMED)",
            required=False, default=False,
        ),
        SettingSpec(
            "approval_calls", "integer", "每个审批接口每分钟调用数", "calls a minute of each approval API", required=False, default=600, low=1,
            high=1_000_000,
        ),
        SettingSpec("page_size", "integer", "每页行数（1 到 100）", "rows a page (1 to 100)", required=False, default=100,
                    low=1, high=100),
        SettingSpec(
            "slots", "integer", "同时进行的调用数（企业微信未公布上限）", "calls at the same time (WeCom publishes no limit)",
            required=False, default=5, low=1, high=50,
        ),
    )  # fmt: skip


_STREAMS = (
    # First: the one that is read; the contact stream comes beside it.
    StreamSpec(
        "follow", "跟进关系", "follows", ("userid", "external_userid"), FOLLOW_FIELDS,
        object="follow", complete_sweep=True, receive=True, incremental=False, parent="contact",
        by_callback=("deleted_by_contact_at",), folds=("userid",),
    ),
    StreamSpec(
        "contact", "外部联系人", "external contacts", ("external_userid",), CONTACT_FIELDS,
        complete_sweep=True, receive=True, incremental=False, read_with="follow",
    ),
    StreamSpec(
        "user", "员工", "employees", ("userid",), USER_FIELDS,
        receive=True, incremental=False, folds=("userid",),
    ),
    StreamSpec(
        "approval", "审批单", "approvals", ("processInstanceId",), APPROVAL_FIELDS, object="approval", receive=True,
    ),
)  # fmt: skip

_FOLLOW = ObjectSpec(
    name="follow",
    title_zh="跟进关系",
    title_en="follow",
    fields={
        "remark": "text",
        "description": "text",
        "remark_company": "text",
        "remark_mobiles": "texts",
        "tags": "texts",
    },
    steps={
        "remark": Step("remark", Delivery.PUT, findable=True),
        "tag": Step("tag", Delivery.PUT, findable=True),
    },
    settle_after=SETTLE_AFTER,
    write_step="remark",
    finish={"saved": ("tag",)},
    stream="follow",
    batch=20,
    creates=False,
    gone_codes=tuple(sorted(NO_RELATION)),
)

_APPROVAL = ObjectSpec(
    name="approval",
    title_zh="审批单",
    title_en="approval",
    fields={
        "processCode": "text",
        "originatorUserId": "text",
        "deptId": "integer",
        "correlation": "text",
        "form": "json",
        "approvers": "json",
        "ccList": "texts",
        "summary": "texts",
    },
    steps={"save": Step("save", Delivery.FINDABLE, findable=True)},
    settle_after=SETTLE_APPROVAL,
    stream="approval",
    batch=5,
    edits=False,
)

SPEC = ConnectorSpec(
    name="wecom",
    title_zh="企业微信",
    title_en="WeCom",
    settings=_settings(),
    streams={stream.name: stream for stream in _STREAMS},
    objects={"follow": _FOLLOW, "approval": _APPROVAL},
    budgets=(
        Budget("calls", scope="api", kind="rate", limit=10_000, per=60.0),
        Budget("calls_hour", scope="api", kind="rate", limit=150_000, per=3600.0),
        Budget("calls_ip", scope="ip", kind="rate", limit=20_000, per=60.0),
        Budget("slots", scope="account", kind="slots", limit=5),
        Budget("notices_person", scope="person", kind="person", limit=30, per=60.0),
        Budget("notices_person_hour", scope="person", kind="person", limit=1_000, per=3600.0),
    ),
    codes={str(code): outcome.kind.__name__ for code, outcome in OUTCOMES.items()},
    approvals=Approving("template_ids", cc_alone=False),
    notifies=True,
)
"""What the hub knows of WeCom before it runs."""
