"""Viewers, roles and tokens as values and as rows."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.access.gate import is_loopback
from hub.access.tokens import (
    TokenRefused,
    TokenSpec,
    any_token,
    create_token,
    is_token,
    list_tokens,
    note_use,
    revoke_token,
    token_viewer,
)
from hub.access.viewer import PERMISSIONS, ROLES, Permission, Viewer, scope_of
from hub.clock import SystemClock
from hub.store import Store
from hub.vault import Vault
from tests.stores import ask, new_store_url

CLOCK = SystemClock()
SPEC = TokenSpec("shop", ["integrator"], "subtree", ["g/s/"])


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    made = Store.open(new_store_url(request.param, request), CLOCK)
    yield made
    made.close()


@pytest.fixture(scope="module")
def vault() -> Vault:
    return Vault.in_memory(CLOCK)


def test_every_permission_is_in_the_table_and_an_administrator_may_all() -> None:
    assert PERMISSIONS.keys() == set(Permission)
    admin = Viewer("x", frozenset({"admin"}), scope_of("all", []))
    nobody = Viewer("x", frozenset(), scope_of("all", []))
    for permission in Permission:
        assert admin.may(permission)
        assert not nobody.may(permission)


def test_an_auditor_reads_and_changes_nothing() -> None:
    auditor = Viewer("x", frozenset({"auditor"}), scope_of("all", []))
    may = {permission.value for permission in Permission if auditor.may(permission)}
    assert may == {"metadata.read", "records.read"}


@settings(max_examples=200)
@given(st.lists(st.from_regex(r"[a-z]{1,3}", fullmatch=True), min_size=1, max_size=4), st.from_regex(r"[a-z0-9-]{1,3}", fullmatch=True))  # fmt: skip
def test_a_subtree_never_holds_a_sibling_whose_name_begins_like_its_own(
    segments: list[str], more: str
) -> None:
    root = "/".join(segments) + "/"
    scope = scope_of("subtree", [root])
    assert scope.admits(root, None, None)
    assert scope.admits(f"{root}{more}/", None, None)
    assert not scope.admits(f"{root[:-1]}{more}/", None, None)


@pytest.mark.parametrize(
    "wrong",
    [("subtree", ["g/s"], None), ("subtree", [], None), ("all", ["g/"], None), ("self", ["g/"], None), ("all", [], "li.lei"), ("unit", ["g/"], None)],
)  # fmt: skip
def test_a_scope_that_says_two_things_is_refused(wrong: tuple[str, list[str], str | None]) -> None:
    reach, regions, owner = wrong
    with pytest.raises(ValueError, match=r".+"):
        scope_of(reach, regions, owner=owner)


def test_a_token_is_shown_once_and_stored_as_a_digest_nobody_can_check_without_the_key(
    store: Store, vault: Vault
) -> None:
    assert not store.read_now(any_token)
    token = store.run_now(create_token, vault, SPEC, by="user:test")
    assert re.fullmatch(r"hub_[0-9A-Za-z]{49}", token)
    assert store.read_now(any_token)
    for table in ("tokens", "acts"):
        assert token not in repr(store.read_now(ask, f"SELECT * FROM {table}"))
        assert token.encode() not in b"".join(
            value
            for row in store.read_now(ask, f"SELECT * FROM {table}")
            for value in row
            if isinstance(value, bytes)
        )
    found = store.read_now(token_viewer, vault, token)
    assert found is not None
    assert found.viewer == Viewer("token:shop", frozenset({"integrator"}), scope_of("subtree", ["g/s/"]))
    assert store.read_now(token_viewer, Vault.in_memory(CLOCK), token) is None


def test_what_makes_and_ends_a_token_is_an_act_that_names_who(store: Store, vault: Vault) -> None:
    store.run_now(create_token, vault, SPEC, by="user:li.lei")
    assert store.run_now(revoke_token, "shop", by="user:han.mei")
    assert not store.run_now(revoke_token, "shop", by="user:han.mei")
    assert not store.run_now(revoke_token, "nobody", by="user:han.mei")
    acts = store.read_now(ask, "SELECT actor, verb FROM acts ORDER BY id")
    assert acts == [("user:li.lei", "token.created"), ("user:han.mei", "token.revoked")]


def test_a_revoked_or_expired_token_opens_nothing_and_its_name_is_not_given_again(
    store: Store, vault: Vault
) -> None:
    gone = store.run_now(create_token, vault, SPEC, by="x")
    old = store.run_now(create_token, vault, TokenSpec("old", ["auditor"], days=1), by="x")
    store.run_now(revoke_token, "shop", by="x")
    store.run_now(lambda tx: ask(tx, "UPDATE tokens SET expires = ? WHERE name = 'old'", tx.now))
    assert [store.read_now(token_viewer, vault, one) for one in (gone, old)] == [None, None]
    with pytest.raises(TokenRefused, match="already"):
        store.run_now(create_token, vault, SPEC, by="x")


@pytest.mark.parametrize(
    "wrong",
    [
        TokenSpec("Shop", ["admin"]), TokenSpec("", ["admin"]), TokenSpec("x", []), TokenSpec("x", ["root"]),
        TokenSpec("x", ["admin"], days=0), TokenSpec("x", ["admin"], rate=0), TokenSpec("x", ["admin"], "subtree"),
        TokenSpec("x", ["admin"], "subtree", ["g/s"]),
    ],
)  # fmt: skip
def test_a_token_that_cannot_be_is_refused_in_both_languages(
    store: Store, vault: Vault, wrong: TokenSpec
) -> None:
    with pytest.raises(TokenRefused) as refused:
        store.run_now(create_token, vault, wrong, by="x")
    assert re.search(r"[一-鿿]", refused.value.zh)
    assert list(store.read_now(list_tokens)) == []


def test_a_mistyped_token_is_known_by_its_checksum(store: Store, vault: Vault) -> None:
    token = store.run_now(create_token, vault, SPEC, by="x")
    assert is_token(token)
    for at in range(4, len(token)):
        other = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert not is_token(other), at
    for text in ("", "hub_", token + "\n", " " + token, token[:-1], token.replace("hub_", "hub-")):
        assert not is_token(text)


def test_the_last_use_is_written_at_most_once_a_minute(store: Store, vault: Vault) -> None:
    store.run_now(create_token, vault, SPEC, by="x")
    store.run_now(note_use, "shop")
    first = store.read_now(list_tokens)[0].used
    store.run_now(note_use, "shop")
    assert store.read_now(list_tokens)[0].used == first
    store.run_now(lambda tx: ask(tx, "UPDATE tokens SET used = used - 61000000"))
    store.run_now(note_use, "shop")
    assert (store.read_now(list_tokens)[0].used or 0) >= (first or 0)


def test_roles_are_the_four_of_the_design() -> None:
    assert ROLES == ("admin", "integrator", "operator", "auditor")


@pytest.mark.parametrize(
    ("listen", "near"),
    [("127.0.0.1:80", True), ("[::1]:80", True), ("localhost:80", True), ("0.0.0.0:80", False), ("[::]:80", False), ("10.0.0.1:80", False), ("hub.example:80", False)],
)  # fmt: skip
def test_a_listener_is_of_this_machine_alone_if_its_address_says_so(listen: str, near: bool) -> None:
    assert is_loopback(listen) is near
