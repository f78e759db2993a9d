"""`hub tokens` as an administrator runs it, and a caller with what it printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.cli.texts_access import ACCESS
from tests.flows.cli_site import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def test_a_token_is_made_listed_and_revoked_and_never_shown_again(site: Site) -> None:
    made = site.json("tokens", "create", "shop", "--role", "integrator", "--from", "10.1.2.3", "--days", "30")
    assert re.fullmatch(r"hub_\w{49}", made["token"])
    listed = site.cli("tokens", "list")
    assert "shop" in listed
    assert made["token"] not in listed
    shown = site.json("tokens", "list")["tokens"]
    assert [(one["name"], one["state"], one["from"], one["reach"]) for one in shown] == [
        ("shop", "in_force", ["10.1.2.3/32"], "all")
    ]
    assert made["token"] not in repr(shown)
    site.cli("tokens", "revoke", "shop")
    assert site.json("tokens", "list")["tokens"][0]["state"] == "revoked"
    site.cli("tokens", "revoke", "shop", code=3)
    assert made["token"] not in repr(site.ask("SELECT * FROM acts"))


def test_the_first_token_says_that_the_door_is_closed_now(site: Site) -> None:
    assert "machine need a token" in site.cli("tokens", "create", "one", "--role", "admin")
    assert "machine need a token" not in site.cli("tokens", "create", "two", "--role", "admin")


@pytest.mark.parametrize(
    "wrong",
    [
        ("x", "--role", "root"), ("x", "--role", "admin", "--region", "nowhere"), ("X", "--role", "admin"), ("x",),
        ("x", "--role", "admin", "--entity", "nobody"), ("x", "--role", "admin", "--from", "example.com"),
        ("x", "--role", "admin", "--days", "0"),
    ],
)  # fmt: skip
def test_a_wrong_argument_makes_no_token(site: Site, wrong: tuple[str, ...]) -> None:
    site.cli("tokens", "create", "good", "--role", "admin")
    site.cli("tokens", "create", *wrong, code=2)
    assert [one["name"] for one in site.json("tokens", "list")["tokens"]] == ["good"]


def test_every_text_is_there_in_both_languages() -> None:
    for key, (zh, en) in ACCESS.items():
        assert re.search(r"[一-鿿]", zh), key
        assert en, key
        assert set(re.findall(r"{\w+}", zh)) == set(re.findall(r"{\w+}", en)), key
