"""Secrets: never shown, compared in constant time, masked completely."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.sdk.secret import Redactor, Secret, redact


def test_a_secret_shows_nothing_of_itself():
    secret = Secret("hunter2")
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret:>20}",
        f"{secret} {secret!r}",
        repr([secret]),
        repr({"a": secret}),
    ]
    assert not any("hunter2" in text for text in shown)
    assert secret.reveal() == "hunter2"


def test_a_secret_equals_the_same_secret_and_no_bare_text():
    assert Secret("甲") == Secret("甲")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("\ud800") == Secret("\ud800")


@pytest.mark.parametrize("leak", [pickle.dumps, copy.deepcopy, json.dumps])
def test_a_secret_is_not_serialised(leak):
    with pytest.raises(TypeError):
        leak(Secret("a"))


@pytest.mark.parametrize("value", [b"bytes", None, 7])
def test_a_secret_is_text(value):
    with pytest.raises(TypeError):
        Secret(value)


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("a key-longer b", ["key", "key-longer"], "a *** b"),
        ("a key-longer b", ["key-longer", "key"], "a *** b"),
        ("abcdef", ["abcd", "cdef"], "***"),
        ("abab.ab", ["ab"], "***.***"),
        ("aaaa", ["aa"], "***"),
        ("nothing", ["x"], "nothing"),
        ("nothing", [""], "nothing"),
        ("nothing", [], "nothing"),
        ("?k=a%2Fb%2B&k=a/b%2B&k=a%2fb", ["a/b+"], "?k=***&k=***&k=a%2fb"),
        ("form a+b%21", ["a b!"], "form ***"),
        ('{"k":"a\\"b\\n"}', ['a"b\n'], '{"k":"***"}'),
        ("\\u7532", ["甲"], "***"),
        ("x padded x", [" padded "], "x***x"),
        ("xpaddedx", [" padded "], "x***x"),
        ("regex .* here", [".*"], "regex *** here"),
    ],
)
def test_secrets_are_masked_the_longest_first_and_in_every_usual_form(text, secrets, shown):
    assert redact(text, [Secret(secret) for secret in secrets]) == shown


@given(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4), st.text("abcd", max_size=40))
def test_no_character_of_any_occurrence_is_left(secrets, text):
    hidden = set()
    for secret in secrets:
        at = text.find(secret)
        while at >= 0:
            hidden |= set(range(at, at + len(secret)))
            at = text.find(secret, at + 1)
    left = "".join(char for at, char in enumerate(text) if at not in hidden)
    assert redact(text, [Secret(secret) for secret in secrets]).replace("***", "") == left


def test_a_redactor_learns_more_secrets():
    mask = Redactor([Secret("one")])
    assert mask("one two") == "*** two"
    mask.add([Secret("two")])
    assert mask("one two") == "*** ***"
