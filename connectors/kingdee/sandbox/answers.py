"""Result envelopes (2.4) and the texts of each MsgCode (8.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from starlette.responses import Response

from hub.sdk.sandbox import Json

__all__ = ["MSG_TEXTS", "SESSION_LOST", "RefusalError", "Trouble", "failed", "json_answer", "status_body"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """One entry of ``Errors`` and the MsgCode it brings; ``index`` is the document's place in the batch."""

    message: str
    code: int
    field: str | None = None
    index: int = 0


class RefusalError(Exception):
    """The operation is refused as a whole or for one document."""

    def __init__(self, message: str, code: int, field: str | None = None) -> None:
        """Take the vendor's text, its MsgCode and the field it names."""
        super().__init__(message)
        self.trouble = Trouble(message, code, field)

    def at(self, index: int) -> Trouble:
        """Return the trouble as that of the document at ``index``."""
        return replace(self.trouble, index=index)


SESSION_LOST = Trouble("会话信息已丢失，请重新登录", 1)

MSG_TEXTS: Mapping[int, str] = {
    0: "“user”使用业务单据：“收款单”业务操作-“[收款单-修改]”冲突，请稍候再使用。",
    1: SESSION_LOST.message,
    2: "没有该单据的操作权限",
    3: "操作编码不能为空",
    4: "系统发生异常",
    5: "业务对象标识不能为空",
    6: "数据库操作失败",
    7: "许可不足，请联系管理员",
    8: "参数不正确",
    9: "元数据中标识为FXXX的字段不存在",
    10: "数据不存在",
    11: "数据校验未通过",
    12: "单据当前状态不允许操作",
    13: "“user”使用业务单据：“收款单”业务操作-“[收款单-修改]”冲突，请稍候再使用。",
    14: "调用次数超过限制",
    15: "系统管理员不允许通过接口登录",
}
"""Stand-in texts for dialled failures; only those of 0 and 1 were seen on the wire."""


def json_answer(body: Json) -> Response:
    """Answer HTTP 200 with a JSON body."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(errors="replace"), media_type="application/json")


def status_body(
    troubles: Sequence[Trouble], done: Sequence[Mapping[str, Json]] = (), **more: Json
) -> dict[str, Json]:
    """Compose ``{"Result": {"ResponseStatus": …}}``; ErrorCode is there only after a failure."""
    status: dict[str, Json] = {
        "IsSuccess": not troubles,
        "Errors": [{"FieldName": one.field, "Message": one.message, "DIndex": one.index} for one in troubles],
        "SuccessEntitys": list(done),
        "SuccessMessages": [],
        "MsgCode": troubles[0].code if troubles else 0,
    }
    if troubles:
        status = {"ErrorCode": 500, **status}
    return {"Result": {"ResponseStatus": status, **more}}


def failed(op: str, trouble: Trouble, *, in_list: bool = False) -> Response:
    """Answer a failure in the shape of the operation: ExecuteBillQuery wraps it in ``[[…]]``."""
    op = op.lower()
    more: dict[str, Json] = {"Id": "", "NeedReturnData": [{}]} if op in ("save", "draft", "batchsave") else {}
    body: Json = status_body([trouble], **more)
    if op == "executebillquery":
        body = [[body]]
    elif op == "billquery" and in_list:
        body = [body]
    return json_answer(body)
