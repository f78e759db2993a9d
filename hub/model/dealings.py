"""What is agreed with customers: contracts, payments, approvals, consent (fields: crm.md 1.1)."""

from __future__ import annotations

from typing import Final

from hub.model.fields import Field
from hub.model.kind import declare

__all__ = ["APPROVAL", "CONSENT", "CONTRACT", "PAYMENT"]

_METHODS: Final = ("bank", "wechat", "alipay", "draft", "cash")
_PAYMENT_STATUSES: Final = ("draft", "submitted", "approved", "posted", "failed", "reversed")
_REFUND_STATUSES: Final = ("requested", "started", "done", "refused")
_CONTRACT_STATUSES: Final = ("draft", "in_approval", "active", "suspended", "fulfilled", "terminated")
_PLAN_STATUSES: Final = ("planned", "open", "partly", "paid", "overdue", "written_off")
_SUBJECTS: Final = ("contract", "payment", "refund", "discount", "transfer", "custom")
_APPROVAL_STATUSES: Final = (
    "draft", "submitted", "in_progress", "approved", "rejected", "withdrawn", "terminated", "revoked",
)  # fmt: skip
_ACTIONS: Final = ("pending", "agree", "reject", "transfer", "return", "withdraw", "comment")
_CONSENTS: Final = ("opted_in", "opted_out", "pending", "unknown")

_FILES: Final = Field(
    "attachments",
    "json",
    "附件",
    "Attachments",
    columns=(
        Field("name", "text", "文件名", "Name", required=True, max_length=200),
        Field("url", "text", "地址", "Address", max_length=2000),
        Field("media_type", "text", "类型", "Media type", max_length=100),
        Field("size", "integer", "大小（字节）", "Size in bytes"),
    ),
)
"""Files that the CRM keeps: of a contract, and of an approval as they were when it was submitted."""

PAYMENT: Final = declare(
    "payment",
    "回款",
    "Payment",
    Field("no", "text", "回款编号", "Number", required=True, max_length=80),
    Field("customer", "reference", "客户", "Customer", required=True, reference="customer"),
    Field("contract", "reference", "合同", "Contract", reference="contract"),
    Field("contract_no", "text", "合同编号", "Contract number", max_length=80),
    Field("received_on", "date", "到账日期", "Received on", required=True),
    Field("amount", "money", "金额", "Amount", required=True, currency_field="currency", positive=True),
    Field("currency", "currency", "币种", "Currency", required=True, max_length=3),
    Field("fx_rate", "decimal", "汇率", "Exchange rate"),
    Field("method", "choice", "收款方式", "Method", choices=_METHODS),
    Field("bank_ref", "text", "银行流水号", "Bank reference", max_length=100),
    Field("payer_name", "company", "付款人", "Payer", personal=True, max_length=200),
    Field("fee", "money", "手续费", "Fee", currency_field="currency"),
    Field("status", "choice", "状态", "Status", choices=_PAYMENT_STATUSES),
    Field("entity", "text", "签约主体", "Legal entity", max_length=80),
    Field("account_no", "text", "我方账号", "Our account", max_length=80),
    Field("refund_status", "choice", "退款状态", "State of the refund", choices=_REFUND_STATUSES),
    Field("refund_amount", "money", "退款金额", "Amount refunded", currency_field="currency"),
    Field("released", "flag", "放行", "Released: no contract, or an active one"),
    Field("remark", "text", "备注", "Remark", max_length=4000),
    match=("contract_no",),
)

CONTRACT: Final = declare(
    "contract",
    "合同",
    "Contract",
    Field("no", "text", "合同编号", "Number", required=True, max_length=80),
    Field("type", "choice", "类型", "Type", choices=("contract", "order")),
    Field("name", "text", "合同名称", "Name", max_length=200),
    Field("customer", "reference", "客户", "Customer", required=True, reference="customer"),
    Field("entity", "text", "签约主体", "Legal entity", max_length=80),
    Field("status", "choice", "状态", "Status", choices=_CONTRACT_STATUSES),
    Field("signed_on", "date", "签订日期", "Signed on"),
    Field("start_on", "date", "开始日期", "Start"),
    Field("end_on", "date", "结束日期", "End"),
    Field("amount_untaxed", "money", "不含税金额", "Amount without tax", currency_field="currency"),
    Field("tax", "money", "税额", "Tax", currency_field="currency"),
    Field("amount_total", "money", "合同总额", "Total amount", required=True, currency_field="currency"),
    Field("currency", "currency", "币种", "Currency", required=True, max_length=3),
    Field(
        "lines",
        "json",
        "合同明细",
        "Lines",
        columns=(
            Field("product_no", "text", "产品编码", "Product number", max_length=80),
            Field("name", "text", "品名", "Name", required=True, max_length=200),
            Field("quantity", "decimal", "数量", "Quantity"),
            Field("unit", "text", "单位", "Unit", max_length=20),
            Field("price", "money", "单价", "Price"),
            Field("discount_rate", "decimal", "折扣率", "Discount rate"),
            Field("tax_rate", "decimal", "税率", "Tax rate"),
            Field("amount", "money", "金额", "Amount", currency_field="currency"),
            Field("remark", "text", "备注", "Remark"),
        ),
    ),
    Field(
        "payment_plan",
        "json",
        "回款计划",
        "Payment plan",
        columns=(
            Field("period_no", "integer", "期次", "Period", required=True),
            Field("due_on", "date", "应收日期", "Due on", required=True),
            Field("amount_due", "money", "应收金额", "Amount due", required=True, currency_field="currency"),
            Field("title", "text", "款项名称", "Title", max_length=100),
            Field("status", "choice", "状态", "Status", choices=_PLAN_STATUSES),
        ),
    ),
    _FILES,
    Field("department", "text", "所属部门", "Department", max_length=100),
    Field("approval_comment", "text", "审批意见", "Comment of the approval", max_length=4000),
    Field("remark", "text", "备注", "Remark", max_length=4000),
    strong=("no",),
)

APPROVAL: Final = declare(
    "approval",
    "审批",
    "Approval",
    Field("no", "text", "审批编号", "Number", required=True, max_length=100),
    Field("title", "text", "标题", "Title", max_length=500),
    Field("subject", "choice", "审批事项", "Subject", required=True, choices=_SUBJECTS),
    Field("contract", "reference", "合同", "Contract", reference="contract"),
    Field("customer", "reference", "客户", "Customer", reference="customer"),
    Field("payment", "reference", "回款", "Payment", reference="payment"),
    Field("contract_no", "text", "合同编号", "Contract number", max_length=80),
    Field("entity", "text", "签约主体", "Legal entity", max_length=80),
    Field("department", "text", "部门", "Department", max_length=100),
    Field("amount", "money", "金额", "Amount", currency_field="currency"),
    Field("currency", "currency", "币种", "Currency", max_length=3),
    Field("discount_rate", "decimal", "折扣率", "Discount rate"),
    Field("to_owner", "text", "转入负责人", "Transferred to", max_length=100),
    Field("to_region", "text", "转入大区", "Transferred to region", max_length=200),
    Field("reason", "text", "申请理由", "Reason", max_length=4000),
    Field("applicant", "text", "申请人", "Applicant", max_length=100),
    Field("status", "choice", "状态", "Status", required=True, choices=_APPROVAL_STATUSES),
    Field("started_at", "instant", "发起时间", "Started at"),
    Field("finished_at", "instant", "结束时间", "Finished at"),
    Field(
        "nodes",
        "json",
        "审批节点",
        "Steps",
        columns=(
            Field("seq", "integer", "序号", "Place"),
            Field("name", "text", "节点名称", "Name", max_length=200),
            Field("mode", "choice", "方式", "Mode", choices=("any", "all")),
            Field("approvers", "texts", "审批人", "Approvers", max_length=100),
            Field("approver", "text", "处理人", "Who acted", max_length=100),
            Field("action", "choice", "操作", "Action", choices=_ACTIONS),
            Field("opinion", "text", "意见", "Comment", max_length=4000),
            Field("acted_at", "instant", "处理时间", "Acted at"),
        ),
    ),
    Field("opinion", "text", "最终意见", "Last comment", max_length=4000),
    Field("route", "text", "审批路由", "Route", max_length=80),
    Field("connection", "text", "审批系统", "Connection", max_length=40),
    Field("template", "text", "审批模板", "Template", max_length=200),
    Field("approvers", "json", "指定审批人", "Chosen approvers"),
    Field("cc", "texts", "抄送人", "Copied to", max_length=100),
    Field("external_ref", "text", "外部审批单号", "Number at the vendor", max_length=200),
    Field("form", "json", "表单", "Form"),
    _FILES,
    match=("no",),
)

CONSENT: Final = declare(
    "consent",
    "营销授权",
    "Consent",
    Field("contact", "reference", "联系人", "Contact", required=True, reference="contact"),
    Field("channel", "choice", "渠道", "Channel", required=True, choices=("email", "sms", "wecom", "call")),
    Field("state", "choice", "状态", "State", required=True, choices=_CONSENTS),
    Field("source", "text", "来源", "Source", max_length=200),
    Field("proof", "text", "凭据", "Proof", max_length=2000),
    Field("at", "instant", "时间", "At"),
)
