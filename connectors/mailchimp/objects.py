"""What the hub uses of an audience, as the fact sheet lists it (3, 7), and the spec made from it.

Field names are Mailchimp's own. Types: see ``hub.sdk.StreamSpec``.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.mailchimp.outcomes import OUTCOMES
from hub.sdk import Budget, ConnectorSpec, Delivery, ObjectSpec, SettingSpec, Step, StreamSpec

__all__ = ["CONSENT", "MEMBER", "MEMBER_READ", "NEW_STATUSES", "POLICIES", "RESULT", "SPEC"]

POLICIES = ("signed_only", "url_secret", "both")
"""How a webhook proves itself: setting ``webhook_policy``."""
NEW_STATUSES = ("subscribed", "pending", "transactional")
"""What ``status_if_new`` may be; `unsubscribed` and `cleaned` are nothing a new member begins with."""


def _fields(text: str, kind: str = "text") -> dict[str, str]:
    return dict.fromkeys(text.split(), kind)


MEMBER: Mapping[str, str] = {
    **_fields(
        "email_address status_if_new status email_type language ip_signup timestamp_signup ip_opt timestamp_opt"
    ),
    **_fields("vip", "flag"),
    **_fields("tags", "texts"),
    "merge_fields.*": "json",
    "interests.*": "flag",
}
"""What a member is written with (3.1, 3.6). ``tags`` are all of them: those not named are taken away."""

MEMBER_READ: Mapping[str, str] = {
    **_fields(
        "contact_id id email_address unique_email_id status email_type language source unsubscribe_reason"
    ),
    **_fields("merge_fields interests", "json"),
    **_fields("tags", "texts"),
    **_fields("vip", "flag"),
    **_fields("timestamp_signup timestamp_opt last_changed", "instant"),
}

CONSENT: Mapping[str, str] = {
    **_fields("contact_id email_address status unsubscribe_reason source ip_signup ip_opt"),
    **_fields("timestamp_signup timestamp_opt last_changed", "instant"),
}
"""The same contact, but for what it agreed to: a change of a name is none of this."""

RESULT: Mapping[str, str] = {
    **_fields("email_id email_address campaign_id campaign_title status"),
    **_fields("open_count click_count", "integer"),
    **_fields("bounced", "flag"),
    **_fields("send_time last_open last_click", "instant"),
}
"""What became of the newest campaign that was sent to an address (7)."""

SETTLE_AFTER = 150.0
"""Seconds a write may take effect after its answer was lost: a call may take 120 s (10)."""

_MEMBER = ObjectSpec(
    name="member",
    title_zh="受众成员",
    title_en="audience member",
    fields=MEMBER,
    # A create is an upsert by the address's hash, a change names the contact's id: repeating either changes nothing.
    steps={"save": Step("save", Delivery.PUT, findable=True)},
    settle_after=SETTLE_AFTER,
    stream="member",
    batch=500,
    required=("email_address", "status_if_new"),
)

_STREAMS = (
    StreamSpec(
        "member", "受众成员", "audience members", ("contact_id",), MEMBER_READ, object="member",
        change_time="last_changed", receive=True,
    ),
    StreamSpec(
        "consent", "邮件许可", "e-mail consent", ("contact_id",), CONSENT, change_time="last_changed", receive=True,
        parent="member",
    ),
    StreamSpec("result", "营销活动结果", "campaign results", ("email_id",), RESULT, incremental=False),
)  # fmt: skip


def _settings() -> tuple[SettingSpec, ...]:
    return (
        SettingSpec("api_key", "secret", "API 密钥，或 OAuth 令牌", "API key, or OAuth token"),
        SettingSpec("list_id", "text", "受众（audience）编号，10 位十六进制", "audience id, 10 hex digits"),
        SettingSpec(
            "base_url", "url", "接口地址；留空则按密钥末尾的数据中心（-us19）得出，OAuth 令牌须填写",
            "address of the API; empty: from the data centre at the end of the key (-us19); needed for an OAuth token",
            required=False, default="",
        ),
        SettingSpec(
            "receive", "text", "callback 接收 Webhook，poll 只靠轮询", "callback: webhooks are heard; poll: reads alone",
            required=False, default="callback",
        ),
        SettingSpec(
            "webhook_policy", "text", "Webhook 如何证明来源：signed_only 签名，url_secret 地址中的密钥，both 两者都要",
            "how a webhook proves itself: signed_only, url_secret (in the address), or both at once", required=False,
            default="signed_only",
        ),
        SettingSpec(
            "webhook_signing_secret", "secret", "创建 Webhook 时显示一次的签名密钥", "signing secret, shown once when the webhook is made",
            required=False, default="",
        ),
        SettingSpec(
            "webhook_url_secret", "secret", "地址中 ?key= 的密钥，至少 22 个字母数字（128 位）",
            "secret in ?key= of the address, at least 22 letters and digits (128 bits)", required=False, default="",
        ),
        SettingSpec(
            "automations", "flag", "加标签时启动自动化", "tags that are written start automations", required=False, default=False,
        ),
        SettingSpec(
            "slots", "integer", "同时进行的调用数；对方每个用户 10 个，所有密钥共用",
            "calls at the same time; the vendor allows 10 a user, shared by all keys", required=False, default=5, low=1, high=10,
        ),
        SettingSpec(
            "batch_from", "integer", "一次新增达到多少人时改用批量接口", "new members at once from which they go as a batch",
            required=False, default=10, low=2, high=500,
        ),
        SettingSpec("page_size", "integer", "每页行数", "rows a page", required=False, default=500, low=1, high=1000),
        SettingSpec("overlap", "number", "增量读取回看的秒数", "seconds a poll looks back", required=False, default=10.0, low=1,
                    high=86_400),
        SettingSpec(
            "results_days", "number", "读取最近多少天发送的营销活动", "campaigns sent in how many days are read", required=False,
            default=30.0, low=1, high=365,
        ),
        SettingSpec(
            "settle_after", "number", "应答丢失后写入仍可能生效的秒数", "seconds a write may take effect after its answer was lost",
            required=False, default=SETTLE_AFTER, low=0.001, high=3_000,
        ),
    )  # fmt: skip


SPEC = ConnectorSpec(
    name="mailchimp",
    title_zh="Mailchimp 邮件营销",
    title_en="Mailchimp",
    settings=_settings(),
    streams={stream.name: stream for stream in _STREAMS},
    objects={"member": _MEMBER},
    budgets=(Budget("slots", scope="account", kind="slots", limit=5, setting="slots"),),
    codes={code: outcome.public for code, outcome in OUTCOMES.items()},
    foreign=True,
)
"""What the hub knows of Mailchimp before it runs."""
