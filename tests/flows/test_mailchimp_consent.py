"""Consent through the pipe: the shipped mappings, the real connector and the sandbox; an unsubscribe comes home and stays."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from connectors.mailchimp import MailchimpConnector
from connectors.mailchimp.sandbox import MailchimpSandbox
from connectors.mailchimp.sandbox.books import LISTS, hash_of
from hub.bus import INBOUND, INBOUND_BULK, Log, Topic
from hub.pipe.intake import Intake
from hub.pipe.items import Item
from hub.pipe.read import read_stream
from hub.pipe.work import Worker
from hub.project import load_project
from hub.sdk import InboundRequest, Secret, Toolbox, VendorKey
from hub.sdk.http import HttpClient, Outbound
from tests.pipe_stand import NoLease, Stand

LIST = LISTS[0]
ROOT = Path(__file__).parents[2]
TOPICS = {name: Topic(name, 2, 86_400) for name in (INBOUND, INBOUND_BULK)}
HUB_YAML = """\
version: 1
regions: [cn, cn/south, overseas]
entities:
  demo: {title: 示例}
connections:
  crm: {connector: api, region: cn/south, entity: demo}
  mc:
    connector: mailchimp
    region: overseas
    exports:
      - {basis: standard_contract, reference: 沪网信备2026-0001, fields: [contact.name, contact.email, contact.custom.email_opt_in]}
    settings:
      api_key: ${secret:mc-key}
      list_id: a6b5da1054
      webhook_signing_secret: ${secret:mc-hook}
kinds:
  contact:
    match:
      - {by: [email], confidence: sure}
syncs:
  mc.contact.in: {source: mc.member, mapping: mailchimp/contact.in, mode: write, authority: {email_opt_out: source}}
  mc.consent.in: {source: mc.consent, mapping: mailchimp/consent.in, mode: write}
  mc.result.in: {source: mc.result, mapping: mailchimp/result.in, mode: write}
  mc.contact.out:
    target: mc.member
    mapping: mailchimp/contact.out
    mode: write
    accept_window: true
    admission: [email, custom.email_opt_in]
"""


class Office:
    """A hub by hand on a clock by hand, in front of a real sandbox in this process."""

    def __init__(self, folder: Path) -> None:
        (folder / "hub.yaml").write_text(HUB_YAML, "utf-8")
        shutil.copytree(ROOT / "mappings" / "mailchimp", folder / "mappings" / "mailchimp")
        project = load_project(folder, {"mailchimp": MailchimpConnector.spec})
        self.stand = Stand(made=project)
        self.world = replace(self.stand.world, specs={"mc": MailchimpConnector.spec})
        self.stand.world = self.world
        self.clock = self.stand.clock
        self.sandbox = MailchimpSandbox(clock=self.clock)
        self.people = self.sandbox.members
        given = self.sandbox.credentials("http://mc")
        http = HttpClient(Outbound(), clock=self.clock, transport=self.sandbox.transport())
        settings: dict[str, Any] = {**given, "api_key": Secret(given["api_key"]), "webhook_policy": "url_secret",
                                    "webhook_url_secret": Secret("q8W3rT6yU1iO4pA7sD0fG2hJ5kL9zX"), "batch_from": 3}  # fmt: skip
        self.connector = MailchimpConnector(settings, Toolbox(http, self.clock, structlog.get_logger()))
        self.worker = Worker(self.stand.store, self.world, NoLease(self.clock), "w", "mc", self.connector)  # type: ignore[arg-type]
        self.bus = Log.open(None, self.clock, topics=TOPICS, inline=True)

    async def aclose(self) -> None:
        await self.bus.aclose()
        self.stand.close()

    def put(self, number: int, **fields: Any) -> str:
        """Write a contact by the API; return its record id."""
        body = {"name": f"Person {number}", "email": email(number), "custom.email_opt_in": True, **fields}
        return self.stand.put(f"P-{number}", "contact", **body)

    async def work(self) -> None:
        """Work off everything that is due at Mailchimp."""
        for _ in range(50):
            self.clock.at += 1000
            if not sum([await self.worker.turn(lane, 50) for lane in (0, 1, 2)]):
                return
        raise AssertionError(self.stand.rows())

    async def poll(self) -> None:
        """Read everything that changed and take it in."""
        self.clock.at += 60_000_000
        for name in ("mc.contact.in", "mc.consent.in", "mc.result.in"):
            sync = self.world.project.syncs[name]
            await read_stream(
                self.stand.store, self.world, self.bus, self.clock, sync, self.connector, holder="r"
            )
            for topic in (INBOUND, INBOUND_BULK):
                for number in (0, 1):
                    intake = Intake(
                        self.stand.store, self.world, self.bus, "t", topic=topic, partition=number
                    )
                    while await intake.turn():
                        pass
            await self.work()

    async def callback(self, word: str, address: str, **data: str) -> None:
        """Have a webhook come in by the door, and what it hints at read."""
        fields = {"list_id": LIST, "email": address, "new_email": address} | data
        pairs = [
            f"type={word}",
            *(f"data%5B{name}%5D={value.replace('@', '%40')}" for name, value in fields.items()),
        ]
        headers = {"content-type": "application/x-www-form-urlencoded"}
        query = (("key", "q8W3rT6yU1iO4pA7sD0fG2hJ5kL9zX"),)
        received = self.connector.receive(
            InboundRequest("POST", query, headers, "&".join(pairs).encode(), self.clock.now())
        )
        items = [
            Item("mc", one.stream, one.key, None, self.world.inbound("mc", one.stream), event=one.id)
            for one in received.events
        ]
        assert items
        self.clock.at += 1_000_000
        self.stand.take_items(items)
        await self.work()

    def contacts(self) -> dict[str, dict[str, Any]]:
        """Return every contact by its address."""
        found = self.stand.ask("SELECT body FROM records WHERE kind = 'contact'")
        return {one["email"]: one for (body,) in found if (one := orjson.loads(body))}

    def consents(self) -> list[dict[str, Any]]:
        return [
            orjson.loads(body)
            for (body,) in self.stand.ask("SELECT body FROM records WHERE kind = 'consent'")
        ]

    def status(self, address: str) -> str:
        return str(self.people.need(LIST, address)["status"])

    def letters(self) -> list[tuple[str, str, str | None]]:
        rows = [row for row in self.stand.rows() if row["state"] == "parked"]
        return [
            (row["sync"], row["cause"].get("why", row["cause"]["code"]), row["cause"].get("field"))
            for row in rows
        ]


def email(number: int) -> str:
    return f"person{number}@acme-asia.sg"


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    opened = Office(tmp_path)
    yield opened
    await opened.aclose()


async def test_contacts_who_agreed_go_out_and_those_who_did_not_wait_visibly(office: Office):
    for number in range(5):
        office.put(number)
    office.put(9, **{"custom.email_opt_in": None})
    await office.work()
    assert {row["email_address"]: row["status"] for row in office.people.of(LIST)} == {
        email(n): "subscribed" for n in range(5)
    }
    assert [row["waits_for"].partition(":")[0] for row in office.stand.rows()] == ["admit"]
    assert not office.letters()


@pytest.mark.parametrize("way", ["webhook", "poll"])
async def test_an_unsubscribe_comes_home_and_no_sync_ever_undoes_it(office: Office, way: str):
    record = office.put(1)
    await office.work()
    office.people.leave(office.people.need(LIST, email(1)), reason="NOT_INTERESTED")
    await (office.callback("unsubscribe", email(1)) if way == "webhook" else office.poll())
    assert office.contacts()[email(1)]["email_opt_out"] is True
    assert [(one["contact"], one["channel"], one["state"], one["source"]) for one in office.consents()] == [
        (record, "email", "opted_out", "NOT_INTERESTED")
    ]
    before = len(office.sandbox.ledger())
    for fields in (
        {"name": "Another Name"},
        {"email_opt_out": False},
        {"tags": ["VIP"]},
        {"name": "Third", "email_opt_out": None},
    ):
        office.put(1, **fields)
        await office.work()
        await office.poll()
        assert office.status(email(1)) == "unsubscribed"
    assert len(office.sandbox.ledger()) > before  # the name did go out
    assert office.people.need(LIST, email(1))["merge_fields"]["FNAME"] == "Third"
    assert not office.letters()


async def test_a_withdrawal_in_the_crm_leaves_there_and_comes_back_as_no_change(office: Office):
    office.put(1)
    await office.work()
    office.put(1, email_opt_out=True)
    await office.work()
    assert office.status(email(1)) == "unsubscribed"
    count = len(office.sandbox.ledger())
    await office.poll()
    await office.poll()
    assert len(office.sandbox.ledger()) == count
    assert office.contacts()[email(1)]["email_opt_out"] is True


async def test_who_had_opted_out_in_the_crm_before_both_sides_met_stays_out_and_leaves_there(office: Office):
    office.people.add(LIST, email(1), "subscribed", {}, skip=False, by="user", source="user")
    office.put(1, email_opt_out=True)
    await office.poll()
    await office.work()
    assert office.contacts()[email(1)]["email_opt_out"] is True
    assert office.status(email(1)) == "unsubscribed"


async def test_a_hint_by_address_and_a_poll_by_contact_are_the_same_object(office: Office):
    record = office.put(1)
    await office.work()
    office.people.edit(office.people.need(LIST, email(1)), {"merge_fields": {"FNAME": "Wei"}})
    await office.callback("profile", email(1))
    await office.poll()
    found = office.stand.ask("SELECT vendor_id, record FROM xrefs WHERE object = 'member'")
    contact = office.people.need(LIST, email(1))["contact_id"]
    assert [(one, bytes(whose).hex()) for one, whose in found] == [(contact, record)]
    assert office.contacts()[email(1)]["name"] == "Wei"


async def test_another_address_given_there_is_the_same_contact(office: Office):
    office.put(1)
    await office.work()
    office.people.edit(office.people.need(LIST, email(1)), {"email_address": email(2)})
    await office.callback("upemail", email(2), old_email=email(1))
    assert list(office.contacts()) == [email(2)]
    assert len(office.people.of(LIST)) == 1


async def test_a_compliance_refusal_is_a_dead_letter_that_names_the_address(office: Office):
    office.put(1)
    await office.work()
    office.people.leave(office.people.need(LIST, email(1)))
    office.people.archive(LIST, email(1), by="user")
    await office.poll()
    office.put(1, name="Another Name")
    await office.work()
    assert ("mc.contact.out", "state", "email_address") in office.letters()
    assert office.status(email(1)) == "archived"


async def test_an_event_for_somebody_nobody_knows_makes_a_contact_once(office: Office):
    office.people.add(
        LIST, email(7), "subscribed", {"merge_fields": {"FNAME": "Ada"}}, skip=True, by="user", source="user"
    )
    await office.callback("subscribe", email(7))
    await office.callback("subscribe", email(7))
    await office.poll()
    assert office.contacts()[email(7)]["name"] == "Ada"
    assert len(office.contacts()) == 1
    assert [one["state"] for one in office.consents()] == ["opted_in"]
    await office.callback("profile", "never-there@acme-asia.sg")
    assert len(office.contacts()) == 1
    assert not office.stand.rows()


async def test_campaign_results_come_back_onto_the_contact(office: Office):
    for number in range(3):
        office.put(number)
    await office.work()
    await office.poll()
    campaign = office.sandbox.reports.send(LIST, "六月通讯")
    office.sandbox.reports.act(campaign["id"], email(1), "open")
    office.sandbox.reports.act(campaign["id"], email(1), "click")
    office.sandbox.reports.act(campaign["id"], email(2), "bounce")
    await office.poll()
    await office.poll()
    names = ("campaign_title", "campaign_opens", "campaign_clicks", "campaign_bounced")
    shown = {one: [body.get(f"custom.{name}") for name in names] for one, body in office.contacts().items()}
    assert shown == {
        email(0): ["六月通讯", 0, 0, False], email(1): ["六月通讯", 1, 1, False], email(2): ["六月通讯", 0, 0, True],
    }  # fmt: skip
    assert not office.letters()


def test_the_hash_of_a_hint_is_the_vendors():
    assert VendorKey("", hash_of(email(1))).id == hash_of(email(1).upper())


async def test_with_a_third_of_all_answers_lost_everybody_is_there_once_and_nobody_who_left_is_back(
    office: Office,
):
    seed = 20261130
    print(f"seed {seed}")
    for number in range(40):
        office.put(number, tags=["VIP"])
    dials = office.sandbox.dials
    dials.seed, dials.apply_then_drop, dials.fail_before, dials.http_502 = seed, 0.3, 0.1, 0.05
    for round_ in range(200):
        await office.work()
        if round_ == 5:
            for row in office.people.of(LIST)[::4]:
                office.people.leave(office.people.need(LIST, row["contact_id"]))
            for number in range(40):
                office.put(number, name=f"Second {number}", tags=["VIP", "客户"])
        if round_ > 5 and not office.stand.rows():
            break
        office.clock.at += 300_000_000
        office.stand.sweep()
    assert not office.stand.rows()
    members = office.people.of(LIST)
    left = [row for row in members if row.get("compliance")]
    assert sorted(row["email_address"] for row in members) == sorted(email(number) for number in range(40))
    assert left
    assert {row["status"] for row in left} == {"unsubscribed"}
    assert {row["status"] for row in members if row not in left} == {"subscribed"}
    assert all(row["merge_fields"]["FNAME"].startswith("Second") for row in members)
    assert all({one["name"] for one in row["tags"]} == {"VIP", "客户"} for row in members)
    creates = [one.number for one in office.sandbox.ledger().effects(by="api", form="member", verb="create")]
    assert sorted(creates) == sorted(email(number) for number in range(40))
