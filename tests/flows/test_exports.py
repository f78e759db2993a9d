"""The cross-border gate: no personal field leaves for a foreign host before an administrator recorded basis and fields."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.mailchimp import MailchimpConnector
from hub.clock import SECOND
from hub.model.kinds import KINDS
from hub.pipe.exports import export_status
from hub.pipe.work import wake_exports
from hub.project import ProjectInvalid, load_project
from hub.project.exports import Export, held_back
from hub.project.values import Project
from hub.sdk.connector import Applied, VendorRef
from tests.pipe_stand import Stand

ROOT = Path(__file__).parents[2]
GRANT = """\
    exports:
      - basis: standard_contract
        reference: 沪网信备2026-0001
        region: overseas
        fields: [contact.name, contact.email, contact.custom.email_opt_in]
"""
HUB_YAML = """\
version: 1
regions: [cn, cn/south, overseas]
entities:
  demo: {{title: 示例}}
connections:
  crm: {{connector: api, region: cn/south, entity: demo}}
  abroad: {{connector: api, region: overseas, entity: demo}}
  mc:
    connector: mailchimp
    region: overseas
{exports}    settings:
      api_key: ${{secret:mc-key}}
      list_id: a6b5da1054
      receive: poll
syncs:
  mc.contact.out: {{target: mc.member, mapping: mailchimp/contact.out, mode: {mode}, accept_window: true, admission: [email]}}
"""


def loaded(folder: Path, exports: str = "", mode: str = "write") -> Project:
    (folder / "hub.yaml").write_text(HUB_YAML.format(exports=exports, mode=mode), "utf-8")
    if not (folder / "mappings").exists():
        shutil.copytree(ROOT / "mappings" / "mailchimp", folder / "mappings" / "mailchimp")
    return load_project(folder, {"mailchimp": MailchimpConnector.spec})


class Border(Stand):
    """Contacts at home and abroad, and everything that was sent to the foreign host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(made=loaded(folder))
        self.world = replace(self.world, specs={"mc": MailchimpConnector.spec})
        self.sent_abroad: list[dict[str, Any]] = []

    def contact(self, number: int, system: str = "abroad", **fields: Any) -> str:
        from hub.crm.external import ExternalWrite, WriteAnswer
        from hub.pipe.accept import accept

        body = {"name": f"Person {number}", "email": f"person{number}@acme-asia.sg", **fields}
        region = "overseas/" if system == "abroad" else "cn/south/"
        written = ExternalWrite(system, "contact", f"P-{number}", body, region)
        answer = self.store.run_now(accept, written, self.world)
        assert isinstance(answer, WriteAnswer), answer
        return answer.record_id.hex()

    def restarted(self, exports: str = "", mode: str = "write") -> None:
        """Change hub.yaml and start the hub again."""
        self.world = replace(self.world, project=loaded(self.folder, exports, mode))
        self.store.run_now(wake_exports, self.world)

    def deliver(self) -> None:
        """Work until nothing is ready: what waits gives no attempt."""
        for _ in range(50):
            self.clock.at += SECOND
            for attempt in self.claim(connection="mc"):
                assert attempt.write is not None
                self.sent_abroad.append(attempt.write.payload)
                self.settle(attempt, Applied(VendorRef(f"c{attempt.subject[-8:]}")))
            if all(row["state"] == "waiting" for row in self.rows()):
                return
        raise AssertionError(self.rows())

    def waiting(self) -> list[str]:
        return [row["waits_for"] for row in self.rows() if row["state"] == "waiting"]

    def status(self) -> Any:
        (found,) = self.store.read_now(export_status, self.world.project)
        return found


@pytest.fixture
def border(tmp_path: Path) -> Iterator[Border]:
    opened = Border(tmp_path)
    yield opened
    opened.close()


def test_without_a_recorded_basis_nothing_leaves_and_everybody_waits_visibly(border: Border):
    for number in range(3):
        border.contact(number)
    border.deliver()
    assert border.sent_abroad == []
    assert border.waiting() == ["export:mc/contact.email"] * 3
    assert (border.status().people, border.status().held) == ({}, {"contact.email": 3})


def test_what_was_recorded_leaves_for_its_region_and_the_others_stay(border: Border):
    for number in range(50):
        border.contact(number)
    for number in range(50, 200):
        border.contact(number, "crm")
    border.deliver()
    assert border.sent_abroad == []
    border.restarted(GRANT)
    border.deliver()
    assert sorted(one["email_address"] for one in border.sent_abroad) == sorted(
        f"person{n}@acme-asia.sg" for n in range(50)
    )
    assert border.waiting() == ["export:mc/contact.email"] * 150
    assert (border.status().people, border.status().held) == ({2026: 50}, {"contact.email": 150})
    assert border.status().exports[0].reference == "沪网信备2026-0001"


@pytest.mark.parametrize("missing", ["contact.name", "contact.email", "contact.custom.email_opt_in"])
def test_a_field_that_is_not_on_the_list_stops_the_record_and_is_named(border: Border, missing: str):
    border.restarted(GRANT.replace(missing, "contact.gender"))
    border.contact(1, **{"custom.email_opt_in": True})
    border.deliver()
    assert (border.sent_abroad, border.waiting()) == ([], [f"export:mc/{missing}"])


def test_an_empty_field_holds_nobody_back(border: Border):
    border.restarted(GRANT.replace(", contact.custom.email_opt_in", ""))
    border.contact(1)
    border.deliver()
    assert len(border.sent_abroad) == 1


def test_a_leave_that_is_taken_back_stops_what_comes_after_and_a_withdrawal_still_goes_out(border: Border):
    border.restarted(GRANT)
    border.contact(1)
    border.deliver()
    border.restarted()
    border.contact(1, email_opt_out=True)
    border.deliver()
    assert border.sent_abroad[-1] == {"status": "unsubscribed", "status_if_new": "transactional"}
    border.contact(1, email_opt_out=True, name="Another Name")
    border.deliver()
    assert len(border.sent_abroad) == 2
    assert border.waiting() == ["export:mc/contact.name"]


def test_people_are_counted_once_a_year_and_last_years_count_stays(border: Border):
    border.restarted(GRANT)
    for number in range(3):
        border.contact(number)
    border.deliver()
    border.contact(0, name="Second Name")
    border.deliver()
    assert border.status().people == {2026: 3}
    border.clock.at += 366 * 86_400 * SECOND
    border.contact(0, name="Third Name")
    border.deliver()
    assert border.status().people == {2026: 3, 2027: 1}
    assert len(border.sent_abroad) == 5


def test_in_observe_it_is_said_too_that_nothing_may_leave(border: Border):
    border.restarted(mode="observe")
    border.contact(1)
    border.deliver()
    assert border.waiting() == ["export:mc/contact.email"]


def test_a_connection_at_home_asks_for_nothing(border: Border):
    home = replace(border.world.project.connections["mc"], foreign=False)
    project = replace(border.world.project, connections={**border.world.project.connections, "mc": home})
    border.world = replace(border.world, project=project)
    border.contact(1)
    border.deliver()
    assert len(border.sent_abroad) == 1
    assert border.store.read_now(export_status, project) == []


def test_an_export_counts_for_its_region_and_what_lies_below():
    one = Export("standard_contract", "1", frozenset({"contact.email"}), "overseas/")
    assert held_back([one], KINDS["contact"], "overseas/sg/", ["email"]) is None
    assert held_back([one], KINDS["contact"], "cn/south/", ["email"]) == "contact.email"
    assert held_back([one], KINDS["contact"], "overseas/", ["email", "mobile"]) == "contact.mobile"
    assert held_back([], KINDS["contact"], "overseas/", ["tags", "email_opt_out"]) is None
    assert held_back([], KINDS["customer"], "", ["custom.note"]) == "customer.custom.note"
    assert (
        held_back(
            [one, Export("other", "2", frozenset({"contact.mobile"}))],
            KINDS["contact"],
            "overseas/",
            ["email", "mobile"],
        )
        is None
    )


@pytest.mark.parametrize(
    ("bent", "message"),
    [
        (("standard_contract", "standard_contact"), "standard_contact"),
        (("        reference: 沪网信备2026-0001\n", ""), "reference is missing"),
        (("contact.name", "contact.nmae"), "nmae"),
        (("contact.name", "contcat.name"), "contcat"),
        (("contact.name", "name"), "contact.email"),
        (("region: overseas\n        fields", "region: over\n        fields"), "over"),
        (("reference:", "referenc:"), "referenc"),
        (("      - basis: standard_contract\n        reference", "      - reference"), "basis is missing"),
    ],
)
def test_a_record_that_is_incomplete_or_misspelt_is_refused_with_its_line(
    tmp_path: Path, bent: tuple[str, str], message: str
):
    with pytest.raises(ProjectInvalid) as caught:
        loaded(tmp_path, GRANT.replace(*bent))
    assert message in str(caught.value)


def test_the_command_shows_basis_people_and_what_is_held_back_in_both_languages(border: Border):
    from hub.cli import exports
    from hub.cli.texts import text

    border.restarted(GRANT)
    border.contact(1)
    border.contact(2, "crm")
    border.deliver()
    shown: list[str] = []

    class Session:
        as_json, lang = False, "zh"
        screen = type(
            "Screen",
            (),
            {
                "line": staticmethod(lambda line="", **_: shown.append(line)),
                "json": staticmethod(shown.append),
            },
        )

        def text(self, key: str, **known: object) -> str:
            return text(key, self.lang).format(**known)

        def hub(self) -> Any:
            made = type("Hub", (), {"store": border.store, "project": border.world.project})
            return contextlib.nullcontext(made)

    session: Any = Session()
    exports.show(session)
    assert shown == [
        "mc：标准合同（沪网信备2026-0001），大区 overseas：contact.custom.email_opt_in, contact.email, contact.name",
        "mc：2026 年已出境 1 人",
        "mc：1 条因 contact.email 未获准出境而等待",
    ]
    shown.clear()
    session.lang = "en"
    border.restarted()
    border.deliver()
    exports.show(session)
    assert shown[0] == "mc: no export is recorded, no personal field leaves"
    shown.clear()
    session.as_json = True
    exports.show(session)
    (one,) = shown[0]
    assert (one["connection"], one["exports"], one["people"], one["held"]) == (
        "mc",
        [],
        {"2026": 1},
        {"contact.email": 1},
    )
