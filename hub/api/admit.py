"""Who is let in to the API, with what scope; each refusal as a problem document."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from starlette.requests import Request

from hub.access.gate import Caller, Refusal, Refused
from hub.access.viewer import Permission
from hub.api.problem import ApiProblem, ProblemKind
from hub.api.request import check_accept
from hub.api.services import Services

__all__ = ["admitted"]

_PROBLEMS: Final = {
    Refusal.UNKNOWN: (ProblemKind.UNAUTHORIZED, None, None),
    Refusal.NO_TOKEN_YET: (
        ProblemKind.UNAUTHORIZED,
        "no token exists yet and you do not call from the hub's own machine: make one with hub tokens create",
        "尚未创建任何令牌，且请求并非来自本机：请先运行 hub tokens create",
    ),
    Refusal.ADDRESS: (
        ProblemKind.FORBIDDEN,
        "this token may not be used from your address",
        "该令牌不允许从您的地址使用",
    ),
    Refusal.TOO_MANY: (ProblemKind.TOO_MANY, None, None),
}


async def admitted(services: Services, request: Request, permission: Permission) -> Services:
    """Return the services as this caller may use them: narrowed to its scope.

    Raises:
        ApiProblem: 401 without a good token, 403 if its roles or its place do not allow this, 429 if it calls too
            often, 406 if it takes no JSON.
    """
    address = request.client.host if request.client is not None else ""
    try:
        viewer = await services.gate(Caller(address, request.headers.raw))
    except Refused as refused:
        kind, en, zh = _PROBLEMS[refused.refusal]
        headers = {"WWW-Authenticate": "Bearer"} if kind is ProblemKind.UNAUTHORIZED else {}
        if refused.wait is not None:
            headers["Retry-After"] = str(refused.wait)
        raise ApiProblem(kind, en, zh=zh, headers=headers) from None
    check_accept(request)
    if not viewer.may(permission):
        roles = ", ".join(sorted(viewer.roles))
        raise ApiProblem(
            ProblemKind.FORBIDDEN,
            f"{permission.value} is not among what {roles} may do",
            zh=f"角色 {roles} 没有此权限：{permission.value}",
        )
    return replace(services, scope=viewer.scope)
