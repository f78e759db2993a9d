"""The sandbox as a whole: one corp under /cgi-bin/, tokens and limits in front, callbacks behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from connectors.wecom.sandbox import desk
from connectors.wecom.sandbox.acts import Act
from connectors.wecom.sandbox.answers import ErrcodeError, Failures, json_answer
from connectors.wecom.sandbox.apis import APIS
from connectors.wecom.sandbox.apps import App, Gate
from connectors.wecom.sandbox.callbacks import Callbacks, Receiver
from connectors.wecom.sandbox.control import add_control
from connectors.wecom.sandbox.corp import Corp
from connectors.wecom.sandbox.dials import WeComDials
from connectors.wecom.sandbox.events import Event
from connectors.wecom.sandbox.limits import Limits
from connectors.wecom.sandbox.marking import pair_of
from connectors.wecom.sandbox.rows import Department, Member, Tag, TagGroup
from connectors.wecom.sandbox.templates import SEED
from connectors.wecom.sandbox.transfers import finish_due
from connectors.wecom.sandbox.wire import Api, Call, Oddities, read_fields, read_json
from hub.sdk.sandbox import Clock, Effect, Json, Sandbox, html_page

__all__ = ["AGENTID", "CORPID", "WeComSandbox"]

CORPID = "ww0123456789abcdef"
AGENTID = "1000002"
SECRET = "sandbox-only-app-secret-000000000000000000k"
CONTACT_SYNC = "contact_sync"
CONTACT_SECRET = "sandbox-only-contact-secret-0000000000000k"
CALLBACK = {"token": "SandboxToken123", "encoding_aes_key": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"}
"""The key's last symbol has spare bits that are not zero: a strict base64 decoder refuses it."""
HERE = "127.0.0.1"
DEPARTMENTS = (
    (1, "示例集团有限公司", 0),
    (2, "华东大区", 1),
    (3, "华南大区", 1),
    (4, "上海销售部", 2),
    (5, "深圳销售部", 3),
)
MEMBERS = (("zhangsan", "张三", 4), ("lisi", "李四", 5), ("wangwu", "王五", 4), ("ZhaoLiu", "赵六", 3))
TAGS = ("重要客户", "普通客户")
OPENED = 1_672_531_200


class WeComSandbox(Sandbox):
    """A stand-in for one corp of 企业微信 with a self-built app, by the fact sheet and nothing else.

    ``corp`` holds the rows, ``gate`` apps and tokens, ``callbacks`` the outbox; ``act`` is the vendor's own
    user; ``limits`` counts calls; ``oddities`` says what a client sent that the vendor forgave.
    """

    name = "wecom"
    dials: WeComDials

    def __init__(
        self, *, clock: Clock | None = None, state: Path | None = None, dials: WeComDials | None = None
    ) -> None:
        """Open the corp; ``state`` is the journal file it goes on from after a restart."""
        super().__init__(clock=clock, state=state, dials=dials or WeComDials())
        self.gate = Gate(CORPID, self.clock)
        self.callbacks = Callbacks(CORPID, self.clock, lambda: self.dials)
        self._failures = Failures()
        self.rebuild(list(self.ledger()))

    def rebuild(self, effects: Sequence[Effect]) -> None:
        """Set up the small corp everybody knows, then replay the effects; tokens are gone."""
        self.gate.reset(
            App(AGENTID, SECRET),
            App(CONTACT_SYNC, CONTACT_SECRET, "通讯录同步", {"contacts"}, contact_sync=True),
        )
        self.callbacks.reset()
        self.limits = Limits(self.clock.now)
        self.oddities = Oddities()
        self.corp = Corp(self.ledger(), self.clock.now)
        for number, name, parent in DEPARTMENTS:
            self.corp.preload(Department(number, name, parent))
        for userid, name, place in MEMBERS:
            self.corp.preload(Member(userid, name, [place], place, "销售经理"))
        self.corp.preload(TagGroup("etSbxLevel", "客户等级", OPENED, 1))
        for number, name in enumerate(TAGS, start=1):
            self.corp.preload(Tag(f"etSbxLevel{number}", "etSbxLevel", name, OPENED, 10 - number))
        for template in SEED:
            self.corp.preload(template)
        for effect in effects:
            if effect.form == "receiver":
                self.callbacks.receivers[str(effect.id)] = Receiver(**effect.after)
            else:
                self.corp.replay(effect)

    def credentials(self, base_url: str) -> Mapping[str, str]:
        """Return what an administrator would hand to the integrator."""
        return {
            "base_url": base_url, "corpid": CORPID, "agentid": AGENTID, "secret": SECRET, **CALLBACK,
            "contact_secret": CONTACT_SECRET,
        }  # fmt: skip

    def routes(self) -> Sequence[BaseRoute]:
        """Serve every path under /cgi-bin/ with both methods: which one is right is the API's to say."""
        return [Route("/cgi-bin/{api:path}", self._serve, methods=["GET", "POST"])]

    def extend_control(self, app: FastAPI) -> None:
        """Add the population, the vendor's users, callbacks, apps and what there is to see."""
        add_control(app, self)

    # ------------------------------------------------------------------------------------------ the vendor's side

    def act(self, *acts: Act) -> list[Mapping[str, Json]]:
        """Let the vendor's users do things in one moment: their events share the second.

        Raises:
            ErrcodeError: one cannot be done; those before it are.
        """
        with self.corp.one_moment():
            return [desk.perform(self.corp, one, self.emit, self.dials) for one in acts]

    def emit(self, event: Event) -> None:
        """Put an event on its way to every app that has a receiver, the grant, and sees the member."""
        for agentid in list(self.callbacks.receivers):
            app = self.gate.apps.get(agentid)
            if app is None or (event.grant and event.grant not in app.grants):
                continue
            if event.userid and not app.sees(self.corp, event.userid):
                continue
            self.callbacks.enqueue(agentid, event.xml(CORPID, unknown_fields=self.dials.unknown_fields))

    async def save_receiver(
        self, url: str, *, agentid: str = AGENTID, token: str = "", key: str = ""
    ) -> None:
        """Save an app's callback address after a real handshake; token and key default to the known ones.

        Raises:
            HandshakeError: the receiver did not answer as it must.
            ValueError: the token or the key cannot be.
        """
        receiver = Receiver(url, token or CALLBACK["token"], key or CALLBACK["encoding_aes_key"])
        await self.callbacks.save(agentid, receiver)
        self.ledger().record(
            "save_receiver", "receiver", at=self.clock.now(), key=agentid, number=url, by="user",
            fields={"agentid": agentid, "url": url}, after=asdict(receiver),
        )  # fmt: skip

    def apply_due(self) -> None:
        """Apply late operations, finish transfers, deliver what is due."""
        super().apply_due()
        finish_due(self.corp, self.emit)
        self.callbacks.kick()

    # ------------------------------------------------------------------------------------------ faults

    def refuse(self, fault: str, op: str) -> Response | None:
        """Answer the vendor's own failures."""
        if fault in ("revoke_token", "expire_token"):
            self.gate.end_tokens(expire=fault == "expire_token")
            return self._failed(ErrcodeError(42001 if fault == "expire_token" else 40014), HERE)
        if not fault.startswith("errcode_"):
            return super().refuse(fault, op)
        code = int(fault.removeprefix("errcode_"))
        if code == 45009:
            self.limits.block(op, self.dials.block_seconds)
        return self._failed(ErrcodeError(code), HERE)

    def replace(self, fault: str, op: str, answer: Response) -> Response:
        """Answer something else although the operation was applied."""
        if fault == "truncated_json":
            body = bytes(answer.body)
            return Response(body[: len(body) // 2], media_type="application/json; charset=UTF-8")
        if fault.startswith("apply_then_errcode_"):
            return self._failed(ErrcodeError(int(fault.removeprefix("apply_then_errcode_"))), HERE)
        return super().replace(fault, op, answer)

    # ------------------------------------------------------------------------------------------ the API

    async def _serve(self, request: Request) -> Response:
        name = str(request.path_params["api"])
        ip = request.client.host if request.client is not None else HERE
        query = request.query_params
        raw = await request.body()
        try:
            if name == "gettoken":
                return await self.exchange(
                    name, "", lambda: self._token(query.get("corpid", ""), query.get("corpsecret", ""), ip)
                )
            api = APIS.get(name)
            if api is None:
                return html_page(404)
            app = self.gate.enter(query.get("access_token", ""), ip, self.dials)
            self.limits.pass_through(name, ip, self.dials)
            call = self._read(name, api, app, request, raw)
            pair = pair_of(call.fields) if name == "externalcontact/mark_tag" else None
            with self.limits.in_flight(name, self.dials.in_flight), self.limits.writing(pair):
                return await self.exchange(name, "", lambda: self._apply(api, call, ip))
        except ErrcodeError as error:
            return self._failed(error, ip)

    def _read(self, name: str, api: Api, app: App, request: Request, raw: bytes) -> Call:
        if api.method == "POST" and request.method == "GET":
            raise ErrcodeError(40058)
        fields: Mapping[str, Json]
        if api.method == "POST":
            fields = read_json(raw, self.dials)
        else:
            fields = {key: value for key, value in request.query_params.items() if key != "access_token"}
        if api.grant and api.grant not in app.grants:
            raise ErrcodeError(api.forbidden)
        call = Call(name, self.corp, app, self.dials, fields, self.oddities, self.emit)
        return read_fields(call, api, raw)

    def _token(self, corpid: str, secret: str, ip: str) -> Response:
        self.limits.calls["gettoken"] += 1
        try:
            token = self.gate.gettoken(corpid, secret, ip, self.dials)
        except ErrcodeError as error:
            return self._failed(error, ip)
        left = max(0, token.until - self.clock.now()) // 1_000_000
        return json_answer({"access_token": token.value, "expires_in": left})

    def _apply(self, api: Api, call: Call, ip: str) -> Response:
        try:
            return json_answer(api.run(call))
        except ErrcodeError as error:
            return self._failed(error, ip)

    def _failed(self, error: ErrcodeError, ip: str) -> Response:
        return self._failures.answer(error, at=self.clock.now(), ip=ip)
