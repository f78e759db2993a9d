"""The strict YAML reading (reliability.md M5, M6)."""

from __future__ import annotations

import pytest

from hub.mapping import Mark, YamlInvalid, load_yaml, typed
from tests.effort import at_once


def refusal(text):
    with pytest.raises(YamlInvalid) as caught:
        load_yaml(text, file="hub.yaml")
    return caught.value.problems[0]


@pytest.mark.parametrize(
    "word",
    [
        "no",
        "yes",
        "on",
        "017",
        "0x1f",
        "12:30:45",
        "1_000",
        "+86",
        "2024-01-01",
        "1e3",
        ".inf",
        ".nan",
        "~",
        "null",
        "true",
        "1.50",
        "0o17",
        "=",
    ],
)
def test_m5_every_scalar_is_the_text_that_was_written(word):
    assert load_yaml(f"a: {word}\nb: [{word}]", file="x").value == {"a": word, "b": [word]}


def test_m5_an_empty_value_is_the_empty_text():
    assert load_yaml("a:\nb: ''", file="x").value == {"a": "", "b": ""}
    assert load_yaml("", file="x").value == ""
    assert load_yaml("# nothing but a comment\n", file="x").value == ""


def test_m5_a_key_that_is_there_twice_is_refused_with_both_lines():
    found = refusal("a: 1\nb: 2\na: 3\n")
    assert (found.line, found.column) == (3, 1)
    assert "first in line 1" in found.message
    assert refusal("x: {a: 1, a: 2}").column == 11


def test_m6_an_alias_bomb_is_refused_before_anything_grows():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcde", "bcdef", strict=True)
    )
    with at_once():
        assert "anchors" in refusal(bomb).message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: *b", "aliases"),
        ("a: &b 1", "anchors"),
        ("&a b: 1", "plain text"),
        ("a: &b [1]", "anchors"),
        ("a: !!python/object:os.system x", "tags"),
        ("a: !!python/object/apply:os.system ['id']", "tags"),
        ("a: !!str 1", "tags"),
        ("!!map {a: 1}", "tags"),
        ("!x a: 1", "plain text"),
        ("a: !x 1", "tags"),
        ("%YAML 1.1\n---\na: 1", "directives"),
        ("%TAG ! tag:x,2000:\n---\na: 1", "directives"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("<<: {a: 1}", "merge keys"),
        ("? [a, b]\n: 1", "plain text"),
        ("{a: 1}: 2", "plain text"),
        ("a: [1", "not YAML"),
        ("a: b: c", "not YAML"),
        ("\ta: 1", "not YAML"),
        ("a: 'x", "not YAML"),
        ("a: \x00", "not YAML"),
        ("a: \x1b[31m", "not YAML"),
        ("a: \ud800", "not YAML"),
        ("@a", "not YAML"),
        ("[" * 21 + "]" * 21, "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ("a: " + "x" * 600_000, "larger"),
    ],
)
def test_m6_what_a_person_does_not_write_is_refused(text, said):
    assert said in refusal(text).message


def test_more_values_than_a_person_writes_are_refused():
    assert "values" in refusal("[" + "1," * 50_001 + "]").message


def test_a_bare_exclamation_mark_only_says_text():
    assert load_yaml("a: ! 12", file="x").value == {"a": "12"}


def test_every_value_and_key_knows_its_place():
    document = load_yaml("a:\n  b: [1, 'x']\n  c: |\n    text\n", file="hub.yaml")
    assert document.mark(("a", "b", 1)) == Mark(2, 10)
    assert document.key(("a", "b")) == Mark(2, 3)
    assert document.key(("a", "b", 1)) == Mark(2, 10)
    assert document.mark(("a", "b", 7, "z")) == Mark(2, 6)
    assert document.mark(("zz",)) == document.mark() == Mark(1, 1)
    assert document.is_plain(("a", "b", 0))
    assert not document.is_plain(("a", "b", 1))
    assert not document.is_plain(("a", "c"))
    assert (
        str(document.problem(("a", "b"), "is wrong", nearest="c"))
        == "hub.yaml:2:6: a.b: is wrong; did you mean 'c'?"
    )
    assert document.problem(("a", "b"), "is wrong", at_key=True).column == 3


def test_a_refusal_is_an_operators_error_with_file_and_line():
    with pytest.raises(YamlInvalid) as caught:
        load_yaml("a: 1\na: 2", file="hub.yaml")
    assert (caught.value.file, caught.value.line) == ("hub.yaml", 2)
    assert str(caught.value).startswith("hub.yaml:2:1: ")


def test_typed_reading_knows_jsons_own_scalars_and_no_other():
    document = load_yaml(
        "[null, true, false, 12, -1.5, 017, no, ~, 1e3, '1', 'null', +1, 1_0, '', {a: 1}, 12345678901234567]",
        file="x",
    )
    assert typed(document, ()) == [
        None,
        True,
        False,
        12,
        -1.5,
        "017",
        "no",
        "~",
        "1e3",
        "1",
        "null",
        "+1",
        "1_0",
        "",
        {"a": 1},
        "12345678901234567",
    ]
    assert typed(document, (14, "a")) == 1
