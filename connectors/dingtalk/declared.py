"""What the hub knows of DingTalk before it runs: settings, streams, the one object, limits and codes."""

from __future__ import annotations

from connectors.dingtalk.approvals import APPROVAL_FIELDS
from connectors.dingtalk.directory import DEPARTMENT_FIELDS, USER_FIELDS
from connectors.dingtalk.outcomes import OUTCOMES
from hub.sdk import Approving, Budget, ConnectorSpec, Delivery, ObjectSpec, SettingSpec, Step, StreamSpec

__all__ = ["SPEC"]

SETTLE_AFTER = 120.0
MONTH = 30 * 86_400.0


def _settings() -> tuple[SettingSpec, ...]:
    return (
        SettingSpec("base_url", "url", "新版接口地址", "address of the new API", default="https://api.dingtalk.com"),
        SettingSpec("old_url", "url", "旧版接口地址", "address of the old API", default="https://oapi.dingtalk.com"),
        SettingSpec("corp_id", "text", "企业 CorpId（开发者后台首页）", "CorpId (first page of 开发者后台)"),
        SettingSpec("app_key", "text", "应用的 Client ID（AppKey）", "Client ID (AppKey) of the app"),
        SettingSpec("app_secret", "secret", "应用的 Client Secret（AppSecret）", "Client Secret (AppSecret) of the app"),
        SettingSpec(
            "agent_id", "integer", "应用的 AgentId：工作通知需要；不填则审批单不带来源应用",
            "AgentId of the app: needed for work notices; approvals name no app if left out", required=False, default=0,
            low=0, high=2**53,
        ),
        SettingSpec(
            "process_codes", "text", "读入的审批模板 PROC-…，以逗号分隔；不填则不读取审批",
            "templates that are taken in, PROC-…, with commas between them; none: no approvals are read", required=False, default="",
        ),
        SettingSpec(
            "correlation_field", "text", "每个模板中承载中台编号的单行输入框：标题、bizAlias 或控件 id",
            "the single-line text field of each template that carries our number: title, bizAlias or id", required=False,
            default="CRM单号",
        ),
        SettingSpec(
            "receive", "text", "stream 接收 Stream 推送，callback 接收 HTTP 推送，poll 只靠读取",
            "stream, callback (HTTP), or poll: reads alone", required=False, default="stream",
        ),
        SettingSpec("token", "secret", "HTTP 推送的签名 token", "token of the HTTP push", required=False, default=""),
        SettingSpec("aes_key", "secret", "HTTP 推送的加密 aes_key", "aes_key of the HTTP push", required=False, default=""),
        SettingSpec("previous_token", "secret", "更换期间仍接受的旧 token", "the token before, while both are in use", required=False, default=""),
        SettingSpec(
            "previous_aes_key", "secret", "更换期间仍接受的旧 aes_key", "the aes_key before, while both are in use", required=False,
            default="",
        ),
        SettingSpec(
            "owner_key", "text", "HTTP 推送密文中的接收方：不填为 AppKey；用接口注册的回调填 CorpId",
            "receiver inside an HTTP push: the AppKey if left out, the CorpId for an address registered by API", required=False,
            default="",
        ),
        SettingSpec(
            "callback_window", "number", "HTTP 推送时间戳允许的偏差（秒）", "seconds a push's timestamp may be off", required=False,
            default=300.0, low=60, high=86_400,
        ),
        SettingSpec(
            "failed_list_minutes", "number", "读取失败推送列表的间隔（分钟）；每次可能计入月额度",
            "minutes between two looks at the failed list; each may count as a call", required=False, default=60.0, low=5,
            high=1_440,
        ),
        SettingSpec(
            "stream_idle", "number", "Stream 多少秒没有任何帧就重新连接", "seconds without any frame until the Stream is opened anew",
            required=False, default=60.0, low=1, high=600,
        ),
        SettingSpec(
            "monthly_calls", "integer", "每月接口调用额度：标准版 5000，专业版 200000", "calls a month: 5000 standard, 200000 pro",
            required=False, default=5_000, low=1, high=10**9,
        ),
        SettingSpec(
            "monthly_pushes", "integer", "每月事件推送额度：标准版 3000，专业版 50000（估算用）", "event pushes a month: 3000 standard, 50000 pro (for estimates)",
            required=False, default=3_000, low=1, high=10**9,
        ),
        SettingSpec("qps", "integer", "每个接口每秒调用数（加购后 60）", "calls a second per API (60 with the add-on)", required=False, default=20, low=1, high=1_000),
        SettingSpec("forecast", "flag", "发起前做流程预测（多一次调用）", "forecast the flow before a create (one more call)", required=False, default=True),
        SettingSpec(
            "verify_create", "flag", "发起后读一次审批单核对编号（多一次调用）", "read what was created once and compare our number (one more call)",
            required=False, default=True,
        ),
        SettingSpec(
            "history_days", "integer", "首次读取往回多少天发起的审批", "days back that the first read goes, by the start of an approval",
            required=False, default=90, low=1, high=364,
        ),
        SettingSpec(
            "find_days", "integer", "结果不明时往回多少天查找", "days back that a create of unknown outcome is looked for", required=False, default=30,
            low=1, high=119,
        ),
        SettingSpec(
            "time_offset", "text", "审批时间“…Z”实际的时区（未经证实）", "offset that the …Z of approval times really has (UNCONFIRMED)",
            required=False, default="+08:00",
        ),
        SettingSpec(
            "corp_id_in_token", "flag", "获取 token 时带 corpId（未经证实，个别旧租户需要）",
            "send corpId when asking for a token (UNCONFIRMED, some old tenants)", required=False, default=False,
        ),
        SettingSpec("page_size", "integer", "每页行数（1 到 20）", "rows a page (1 to 20)", required=False, default=20, low=1, high=20),
        SettingSpec("slots", "integer", "同时进行的调用数", "calls at the same time", required=False, default=5, low=1, high=50),
    )  # fmt: skip


_STREAMS = (
    StreamSpec(
        "approval", "审批单", "approvals", ("processCode", "processInstanceId"), APPROVAL_FIELDS, object="approval", receive=True,
    ),
    StreamSpec("user", "员工", "employees", ("userid",), USER_FIELDS, receive=True, incremental=False),
    StreamSpec("department", "部门", "departments", ("dept_id",), DEPARTMENT_FIELDS, receive=True, incremental=False),
)  # fmt: skip

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
        "ccPosition": "text",
        "targetSelectActioners": "json",
        "comment": "json",
        "terminate": "json",
    },
    steps={"save": Step("save", Delivery.FINDABLE, findable=True)},
    settle_after=SETTLE_AFTER,
    stream="approval",
    batch=5,
)

SPEC = ConnectorSpec(
    name="dingtalk",
    title_zh="钉钉",
    title_en="DingTalk",
    settings=_settings(),
    streams={stream.name: stream for stream in _STREAMS},
    objects={"approval": _APPROVAL},
    budgets=(
        Budget("calls_month", scope="account", kind="rate", limit=5_000, per=MONTH, setting="monthly_calls"),
        Budget(
            "pushes_month", scope="account", kind="period", limit=3_000, per=MONTH, setting="monthly_pushes"
        ),
        Budget("calls", scope="api", kind="rate", limit=20, per=1.0, setting="qps"),
        Budget("calls_ip", scope="ip", kind="rate", limit=10_000, per=20.0),
        Budget("slots", scope="account", kind="slots", limit=5, setting="slots"),
        Budget("notices_person", scope="person", kind="person", limit=500, per=86_400.0),
    ),
    codes={code: outcome.kind.__name__ for code, outcome in OUTCOMES.items()},
    approvals=Approving("process_codes"),
    notifies=True,
)
"""What the hub knows of DingTalk before it runs."""
