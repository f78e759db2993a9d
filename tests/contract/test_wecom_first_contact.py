"""First contact with a WeCom corp: the check names the click, the probes look without writing, real callbacks arrive."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.wecom import WeComConnector
from connectors.wecom.probing import POINTS
from connectors.wecom.sandbox import HandshakeError
from connectors.wecom.sandbox.acts import (
    AddContact,
    DeleteByCustomer,
    DeleteByEmployee,
    EditFollow,
    PutMember,
    RawEvent,
)
from connectors.wecom.sandbox.server import AGENTID, CONTACT_SECRET
from hub.errors import Cause, InboundRefused
from hub.sdk import Answer, InboundEvent, InboundRequest, Secret, VendorRef
from hub.sdk.kit import Bench, scripted
from hub.sdk.sandbox import Sandbox, running
from tests.wecom_stand import SELLER, TOKEN, bench, wecom

APP = AGENTID


async def failing(bench: Bench, **changes: Any) -> Any:
    report = await bench.connect(bench.stand.settings() | changes).check()
    assert not report.ok
    assert all(step.ok for step in report.steps[:-1])
    return report.steps[-1]


# ------------------------------------------------------------------------------------------- check


async def test_a_good_connection_passes_every_step_in_order(bench: Bench, wecom: WeComConnector):
    report = await wecom.check()
    assert [(step.name, step.ok) for step in report.steps] == [
        (name, True) for name in ("reach", "token", "customers", "departments", "callback")
    ]


async def test_a_connection_without_callbacks_says_so(bench: Bench):
    settings = {
        name: value
        for name, value in bench.stand.settings().items()
        if name not in ("token", "encoding_aes_key")
    }
    report = await bench.connect(settings | {"receive": "poll"}).check()
    assert report.ok
    assert "poll" in report.steps[-1].en


@pytest.mark.parametrize(
    ("code", "api", "step", "click"),
    [
        (40001, "gettoken", "token", "Secret"),
        (40013, "gettoken", "token", "企业信息"),
        (48002, "externalcontact/get_follow_user_list", "customers", "可调用接口的应用"),
        (60020, "externalcontact/get_follow_user_list", "customers", "企业可信IP"),
        (48011, "externalcontact/get_follow_user_list", "customers", "活跃"),
        (50003, "externalcontact/get_follow_user_list", "customers", "启用"),
        (301002, "externalcontact/get_follow_user_list", "customers", "agent_id"),
        (60011, "department/list", "departments", "可见范围"),
    ],
)
async def test_a_step_that_fails_shows_the_code_and_the_click(
    bench: Bench, code: int, api: str, step: str, click: str
):
    # the first gettoken is the one of step `reach`, which shows no credential
    bench.stand.sandbox.dials.chances = [{"errcode": code, "api": api, "probability": 1.0}]
    failed = await failing(bench)
    assert failed.name == step
    assert str(code) in failed.zh
    assert str(code) in failed.en
    assert click in failed.zh


async def test_a_missing_grant_an_untrusted_address_and_an_empty_range_are_told_apart(bench: Bench):
    app = bench.stand.sandbox.gate.apps[APP]
    app.grants = app.grants - {"externalcontact"}
    assert "可调用接口的应用" in (await failing(bench)).zh
    app.grants = app.grants | {"externalcontact"}
    app.trusted_ips = ["203.0.113.1"]
    failed = await failing(bench)
    assert failed.code == Cause.ADDRESS
    assert "127.0.0.1" in failed.zh
    app.trusted_ips = []
    bench.stand.sandbox.act(PutMember(userid=SELLER, follows=False, silent=True))
    assert "可见范围" in (await failing(bench)).zh


async def test_the_secret_of_the_contact_sync_is_not_the_apps(bench: Bench):
    failed = await failing(bench, secret=Secret(CONTACT_SECRET))
    assert failed.name == "customers"


# ------------------------------------------------------------------------------------------- probes


async def test_the_probes_name_every_point_and_write_nothing(bench: Bench, wecom: WeComConnector):
    await bench.stand.seed("follow", 2)
    before = len(list(bench.stand.sandbox.ledger()))
    probes = await wecom.probe()
    assert tuple(probe.point for probe in probes) == POINTS
    assert all(probe.zh and probe.en and probe.seen for probe in probes)
    assert {probe.outcome for probe in probes} <= {"confirmed", "contradicted", "unclear", "skipped"}
    assert len(list(bench.stand.sandbox.ledger())) == before
    seen = {probe.point: probe.outcome for probe in probes}
    assert seen["same_token"] == seen["prefixes"] == seen["list_id"] == "confirmed"
    text = " ".join(map(repr, probes))
    assert SELLER not in text
    assert "wmSbx" not in text


@pytest.mark.parametrize(
    ("dial", "value", "point", "outcome"),
    [
        ("token_rotation", "new", "same_token", "contradicted"),
        ("empty_list_errcode", 84061, "empty_list", "contradicted"),
        ("old_userid_field", False, "single_userid", "contradicted"),
        ("list_id_errcode", 48009, "list_id", "contradicted"),
        ("unknown_enums", True, "prefixes", "contradicted"),
    ],
)
async def test_a_probe_sees_the_other_answer(bench: Bench, dial: str, value: Any, point: str, outcome: str):
    if point != "empty_list":
        await bench.stand.seed("follow", 6)
    setattr(bench.stand.sandbox.dials, dial, value)
    found = {probe.point: probe for probe in await bench.connect().probe()}
    assert found[point].outcome == outcome, found[point]


async def test_a_private_build_is_asked_for_the_calls_we_list_by_and_the_public_service_is_not(bench: Bench):
    await bench.stand.seed("follow", 1)
    found = {probe.point: probe for probe in await bench.connect().probe()}["private_build"]
    assert found.outcome == "confirmed", found
    for api in ("batch/get_by_user", "get_corp_tag_list", "department/list", "user/simplelist", "user/get"):
        assert api in found.seen
    real = bench.connect().tools.http

    class Older:
        async def request(self, method: str, url: str, **more: Any) -> Answer:
            missing = "get_corp_tag_list" in url
            return Answer(404, httpx.Headers(), b"") if missing else await real.request(method, url, **more)

    found = {probe.point: probe for probe in await bench.connect(http=Older()).probe()}["private_build"]
    assert (found.outcome, "get_corp_tag_list HTTP 404" in found.seen) == ("contradicted", True), found
    public = bench.stand.settings() | {"base_url": "https://qyapi.weixin.qq.com"}
    found = {probe.point: probe for probe in await bench.connect(public, http=scripted(TOKEN)).probe()}[
        "private_build"
    ]
    assert found.outcome == "skipped"


async def test_a_probe_that_fails_stops_no_other(bench: Bench, wecom: WeComConnector):
    bench.stand.sandbox.dials.chances = [
        {"errcode": 48002, "api": "user/list_id", "probability": 1.0},
        {"errcode": 45033, "api": "department/list", "probability": 1.0},
    ]
    found = {probe.point: probe for probe in await wecom.probe()}
    assert (found["root_parent"].outcome, found["root_parent"].seen) == ("unclear", "TryAgain 45033")
    assert found["list_id"].outcome == "confirmed"


# ------------------------------------------------------------------------------------------- callbacks over a socket


class _Hook(Sandbox):
    """A door as small as can be: what comes in goes to the connector, its answer goes out."""

    name = "hook"

    def __init__(self, connector: WeComConnector) -> None:
        super().__init__()
        self.connector = connector
        self.events: list[InboundEvent] = []
        self.ignored: list[str] = []

    def routes(self) -> list[Route]:
        return [Route("/hooks/wecom", self._serve, methods=["GET", "POST"])]

    def credentials(self, base_url: str) -> dict[str, str]:
        return {}

    def rebuild(self, effects: Any) -> None:
        """Keep nothing."""

    async def _serve(self, request: Request) -> Response:
        query = tuple(request.query_params.multi_items())
        given = InboundRequest(
            request.method, query, {}, await request.body(), self.connector.tools.clock.now()
        )
        try:
            received = self.connector.receive(given)
        except InboundRefused:
            return Response(status_code=401)
        self.events += received.events
        self.ignored += [received.ignored] if received.ignored else []
        return Response(received.body, received.status, media_type=received.media_type)


@contextlib.asynccontextmanager
async def hooked(bench: Bench, **changes: Any) -> AsyncIterator[tuple[_Hook, str]]:
    hook = _Hook(bench.connect(bench.stand.settings() | changes))
    async with running(hook) as url:
        yield hook, f"{url}/hooks/wecom"


async def test_the_address_is_saved_after_a_real_handshake_and_events_arrive(bench: Bench):
    sandbox = bench.stand.sandbox
    async with hooked(bench) as (hook, url):
        await sandbox.save_receiver(url)
        (made,) = sandbox.act(AddContact(userid=SELLER))
        pair = {"userid": SELLER, "external_userid": str(made["external_userid"])}
        sandbox.act(EditFollow(**pair, remark="改"))
        sandbox.act(
            DeleteByCustomer(**pair),
            RawEvent(event="change_external_contact", change_type="msg_audit_approved"),
        )
        sandbox.act(
            DeleteByEmployee(**pair),
            PutMember(userid="New.Man", name="新", department=[100], main_department=100),
        )
        await sandbox.callbacks.flush()
    words = [(one.stream, one.type.partition("/")[2], one.record is not None) for one in hook.events]
    assert sorted(words) == sorted([
        ("contact", "add_external_contact", False), ("follow", "add_external_contact", False), ("follow", "edit_external_contact", False),
        ("follow", "del_follow_user", True), ("follow", "del_external_contact", False), ("user", "create_user", False),
    ])  # fmt: skip
    assert hook.ignored == ["unknown: change_external_contact/msg_audit_approved"]
    assert {one.key.id for one in hook.events if one.stream == "follow"} == {
        f"{SELLER.lower()}/{pair['external_userid']}"
    }


async def test_an_address_with_another_token_or_key_is_not_saved(bench: Bench):
    for changes in (
        {"token": Secret("Another")},
        {"encoding_aes_key": Secret("A" * 43)},
        {"corp_id": "ww9999999999999999"},
    ):
        async with hooked(bench, **changes) as (hook, url):
            with pytest.raises(HandshakeError):
                await bench.stand.sandbox.save_receiver(url)
            assert hook.events == []


async def test_what_our_own_api_calls_change_is_not_called_back(bench: Bench):
    async with hooked(bench) as (hook, url):
        await bench.stand.sandbox.save_receiver(url)
        (one,) = await bench.stand.seed("follow", 1)
        connector = bench.connect()
        write = bench.create("follow")
        for step in ("remark", "tag"):
            ref = bench.write("follow", step, write.payload, ref=None)
            await bench.one(connector, replace(ref, ref=VendorRef(one), create=False))
        await bench.stand.sandbox.callbacks.flush()
        assert (hook.events, hook.ignored) == ([], [])
        assert len(bench.stand.effects("follow")) == 2
