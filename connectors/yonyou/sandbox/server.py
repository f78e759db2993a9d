"""The sandbox as a whole: two data centres of one tenant, the gateway's checks in front, events behind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from connectors.yonyou.sandbox.answers import (
    CodeError,
    failed,
    json_answer,
    plain_bad_token,
    succeeded,
)
from connectors.yonyou.sandbox.books import Books
from connectors.yonyou.sandbox.control import add_control
from connectors.yonyou.sandbox.desk import Desk
from connectors.yonyou.sandbox.dials import YonyouDials
from connectors.yonyou.sandbox.gate import CENTRES, Account, Gate
from connectors.yonyou.sandbox.merchants import MERCHANTS
from connectors.yonyou.sandbox.pushes import Pushes, Subscription
from connectors.yonyou.sandbox.receipts import COLLECTION
from connectors.yonyou.sandbox.receivebill import RECEIVEBILL
from connectors.yonyou.sandbox.site import Site
from hub.sdk.sandbox import Clock, Effect, Json, Sandbox, html_page

__all__ = ["YonyouSandbox"]

APIS = {**MERCHANTS, **COLLECTION, **RECEIVEBILL}
GETS = frozenset(["EFI/collection/detail", "fi/receivebill/detail"])
ARRAYS = frozenset(["digitalModel/merchant/newBatchDetail"])
PLAIN = "fi/fipub/basedoc/querybd/accperiod"
"""A path that answers a bad token as plain text (1.3)."""
FORMS = {"digitalModel": "customer", "EFI": "receipt", "fi": "receivebill"}
TOKEN_PATHS = ("/base/v1/getAccessToken", "/getAccessToken")


class YonyouSandbox(Sandbox):
    """A stand-in for one tenant of 用友 YonBIP with a self-built app, by the fact sheet and nothing else.

    ``desk`` acts as the vendor's own user; ``gate`` holds tokens and grants; ``books`` the rows; ``pushes`` the outbox.
    """

    name = "yonyou"
    dials: YonyouDials

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        state: Path | None = None,
        dials: YonyouDials | None = None,
        account: Account | None = None,
    ) -> None:
        """Open the tenant; ``state`` is the journal file it goes on from after a restart."""
        super().__init__(clock=clock, state=state, dials=dials or YonyouDials())
        self.account = account or Account()
        self.gate = Gate(self.account, self.clock)
        self.pushes = Pushes(self.account, self.clock, lambda: self.dials)
        self._in_flight: set[str] = set()
        self.rebuild(list(self.ledger()))

    def rebuild(self, effects: Sequence[Effect]) -> None:
        """Replay the effects; tokens are gone."""
        self.gate.reset()
        self.pushes.reset()
        self._in_flight.clear()
        self.books = Books(self.ledger(), self.clock.now)
        for effect in effects:
            if effect.form == "subscription":
                self.pushes.subscription = Subscription(
                    **{**effect.after, "types": tuple(effect.after["types"])}
                )
            else:
                self.books.replay(effect)
        self.site = Site(self.books, self.dials, self.pushes.emit)

    @property
    def desk(self) -> Desk:
        """Return the vendor's own user, who works under the dials as they are now."""
        return Desk(self._current_site())

    def credentials(self, base_url: str) -> Mapping[str, str]:
        """Return what an administrator would hand to the integrator."""
        return {"directory_url": base_url, **asdict(self.account)}

    def routes(self) -> Sequence[BaseRoute]:
        """Serve the look-up, both token paths and the gateway of both data centres."""
        both = ["GET", "POST", "PUT", "DELETE"]
        auth = "/{centre}/iuap-api-auth/open-auth/selfAppAuth"
        return [
            Route("/open-auth/dataCenter/getGatewayAddress", self._addresses, methods=["GET"]),
            *(Route(f"{auth}{path}", self._token, methods=["GET"]) for path in TOKEN_PATHS),
            Route("/{centre}/iuap-api-gateway/yonbip/{api:path}", self._serve, methods=both),
        ]

    def extend_control(self, app: FastAPI) -> None:
        """Add seeding, the vendor's user, months, grants, tokens and pushes to the control door."""
        add_control(app, self)

    async def subscribe(self, subscription: Subscription) -> None:
        """Save a subscription after a real `CHECK_URL`. Raises CheckUrlError."""
        await self.pushes.save(subscription)
        self.ledger().record(
            "subscribe", "subscription", at=self.clock.now(), key=1, number=subscription.url, by="user",
            fields={"url": subscription.url, "scheme": subscription.scheme}, after=asdict(subscription),
        )  # fmt: skip

    def apply_due(self) -> None:
        """Apply late operations, deliver what is due."""
        super().apply_due()
        self.pushes.kick()

    # ------------------------------------------------------------------------------------------ faults

    def refuse(self, fault: str, op: str) -> Response | None:
        """Answer the vendor's own failures."""
        if fault in ("expire_token", "text_token"):
            self.gate.drop_tokens()
            return plain_bad_token() if fault == "text_token" else failed(CodeError("310036"))
        if fault.startswith("code_"):
            return failed(CodeError(fault.removeprefix("code_")))
        return super().refuse(fault, op)

    def replace(self, fault: str, op: str, answer: Response) -> Response:
        """Answer something else although the operation was applied."""
        if fault == "truncated_json":
            body = bytes(answer.body)
            return Response(body[: len(body) // 2], media_type="application/json;charset=UTF-8")
        if fault.startswith("apply_then_code_"):
            return failed(CodeError(fault.removeprefix("apply_then_code_")))
        return super().replace(fault, op, answer)

    # ------------------------------------------------------------------------------------------ the vendor's doors

    async def _addresses(self, request: Request) -> Response:
        try:
            found = self.gate.addresses(
                request.query_params.get("tenantId", ""), str(request.base_url).rstrip("/")
            )
        except CodeError as error:
            return json_answer({"code": error.code, "message": str(error)})
        return json_answer({"code": "00000", "message": "成功！", "data": found})

    async def _token(self, request: Request) -> Response:
        centre = request.path_params["centre"]
        if centre not in CENTRES:
            return html_page(404)

        def apply() -> Response:
            try:
                value, life = self.gate.new_token(centre, request.query_params, self.dials)
            except CodeError as error:
                return json_answer({"code": error.code, "message": str(error)})
            data = {"access_token": value, "expire": life}
            return json_answer({"code": "00000", "message": "成功！", "data": data})

        return await self.exchange("getAccessToken", "", apply)

    async def _serve(self, request: Request) -> Response:
        api, centre = str(request.path_params["api"]), request.path_params["centre"]
        raw = await request.body()
        if centre not in CENTRES:
            return html_page(404)
        if api not in APIS and api != PLAIN:
            return failed(CodeError("310404", f"网关上没有注册此API[/yonbip/{api}]，请确认后重新调用"))
        token = request.query_params.get("access_token")
        if not token and self.dials.header_token:
            token = request.headers.get("access_token")
        try:
            self.gate.enter(centre, api, token, self.dials)
            if request.method != ("GET" if api in GETS else "POST"):
                raise CodeError("310405", "请求方法不支持")
            asked = dict(request.query_params) if api in GETS else _read(raw)
        except CodeError as error:
            return plain_bad_token() if api == PLAIN and error.code == "310036" else failed(error)
        if api == PLAIN:
            return succeeded([])
        return await self._keyed(api, asked)

    async def _keyed(self, api: str, asked: Any) -> Response:
        """Carry a call through the dials; a key that is under way already answers 202 (2.0)."""
        data = asked.get("data") if isinstance(asked, dict) else None
        key = data.get("resubmitCheckKey") if isinstance(data, dict) else None
        if not isinstance(key, str):
            return await self.exchange(
                api, FORMS[api.partition("/")[0]], lambda: self._apply(api, asked, None)
            )
        if key in self._in_flight:
            return failed(CodeError("202"))
        self._in_flight.add(key)
        late = len(self._late)
        try:
            return await self.exchange(
                api, FORMS[api.partition("/")[0]], lambda: self._apply(api, asked, key)
            )
        finally:
            if len(self._late) == late:  # else it is still to come: until then the key is under way
                self._in_flight.discard(key)

    def _apply(self, api: str, asked: Any, key: str | None) -> Response:
        self._in_flight.discard(key or "")
        try:
            if isinstance(asked, list) != (api in ARRAYS):
                raise CodeError("310023", "请求体类型不正确")
            data = APIS[api](self._current_site(), asked)
        except CodeError as error:
            return failed(error)
        message = "处理成功" if api.startswith("digitalModel") else "操作成功"
        return succeeded(data, message=message, number=self.dials.number_codes, extras=self.dials.extras)

    def _current_site(self) -> Site:
        self.site.dials = self.dials  # the control door replaces the dials as a whole
        return self.site


def _read(raw: bytes) -> Json:
    """Return a body. Raises CodeError 310002 for anything that is no JSON object or array."""
    try:
        body = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise CodeError("310002", "请求体不是合法的JSON") from None
    if not isinstance(body, dict | list):
        raise CodeError("310002", "请求体不是合法的JSON")
    return body
