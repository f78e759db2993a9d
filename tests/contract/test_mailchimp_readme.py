"""The connector's pages list every setting and every event as the code declares them, and name every dead letter."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest

from connectors.mailchimp import MailchimpConnector
from connectors.mailchimp.objects import POLICIES
from connectors.mailchimp.webhook import EVENTS
from hub.project import load_project

HERE = Path(__file__).parents[2] / "connectors" / "mailchimp"
PAGES = [("README.md", "en"), ("README.zh-CN.md", "zh")]


def lines(page: str) -> list[str]:
    return (HERE / page).read_text("utf-8").splitlines()


@pytest.mark.parametrize(("page", "language"), PAGES)
def test_the_settings_table_is_the_spec(page: str, language: str) -> None:
    types = ("url", "text", "secret", "integer", "number", "flag")
    table = [line for line in lines(page) if line.startswith("| `") and line.split("|")[2].strip() in types]
    assert table == [
        f"| `{one.name}` | {one.type} | {'–' if one.default in (None, '') else one.default} | {getattr(one, language)} |"
        for one in MailchimpConnector.spec.settings
    ]


@pytest.mark.parametrize(("page", "language"), PAGES)
def test_the_table_of_events_is_the_one_that_runs(page: str, language: str) -> None:
    shown = [
        line
        for line in lines(page)
        if line.startswith("| `") and line.count("|") == 3 and line.split("|")[2].strip()[:1] in ("→", "–")
    ]
    assert shown == [
        f"| `{word}` | {'→' if row.address else '–'} {getattr(row, language)} |"
        for word, row in EVENTS.items()
    ]


@pytest.mark.parametrize("page", [page for page, _ in PAGES])
def test_the_pages_name_streams_policies_and_the_refusals_people_see(page: str) -> None:
    text = "\n".join(lines(page))
    words = [*MailchimpConnector.spec.streams, *POLICIES]
    words += [
        "Member In Compliance State",
        "Forgotten Email Not Subscribed",
        "Too Many Requests",
        "status_if_new",
    ]
    assert not [word for word in words if word not in text]


@pytest.mark.parametrize("page", [page for page, _ in PAGES])
def test_the_configuration_of_the_pages_is_a_project_that_loads(page: str, tmp_path: Path) -> None:
    block = "\n".join(lines(page)).partition("```yaml\n")[2].partition("```")[0]
    text = "version: 1\nregions: [cn, overseas]\nentities:\n  demo: {title: 示例}\n" + textwrap.dedent(block)
    (tmp_path / "hub.yaml").write_text(text, "utf-8")
    shutil.copytree(HERE.parents[1] / "mappings" / "mailchimp", tmp_path / "mappings" / "mailchimp")
    project = load_project(tmp_path, {"mailchimp": MailchimpConnector.spec})
    connection = project.connections["mailchimp"]
    assert connection.foreign
    assert connection.exports[0].fields >= {"contact.email", "contact.name"}
    assert {sync.mode for sync in project.syncs.values()} == {"observe"}
    assert project.syncs["mailchimp.contact.in"].authority_of("email_opt_out") == "source"
