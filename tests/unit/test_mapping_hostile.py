"""What a mapping must never be able to do: reach Python, or grow without bound."""

from __future__ import annotations

import sys

import pytest

from hub.mapping import Context, Failed, MappingInvalid, YamlInvalid
from tests.effort import at_once
from tests.mapping_site import inbound, made, refusal, value


@pytest.mark.parametrize(
    "expression",
    [
        "().__class__",
        "().__class__.__bases__[0].__subclasses__()",
        "name.__class__",
        "name._private",
        "extra['__class__']",
        "extra.a.__dict__",
        "__import__('os').system('id')",
        "__builtins__",
        "__name__",
        "open('/etc/passwd')",
        "eval('1')",
        "exec('1')",
        "getattr(name, 'upper')",
        "globals()",
        "print(name)",
        "len(name)",
        "name.upper()",
        "name.format(name)",
        "trim.__globals__",
        "(lambda: 1)()",
        "lambda: name",
        "f'{name}'",
        "f'{name.__class__}'",
        "(x := name)",
        "{'a': 1}",
        "{1, 2}",
        "{k: 1 for k in tags}",
        "{t for t in tags}",
        "(t for t in tags)",
        "[t for t in tags for u in tags]",
        "[[u for u in tags] for t in tags]",
        "[t for _t in tags]",
        "[a for a, b in tags]",
        "[a.b for a.b in tags]",
        "[t async for t in tags]",
        "[*tags]",
        "2 ** 9",
        "9 ** 9 ** 9",
        "1 / 0",
        "1 // 2",
        "'%s' % name",
        "1 << 9",
        "~count",
        "+count",
        "count @ count",
        "count & 1",
        "count | 1",
        "tags[0:2]",
        "tags[count]",
        "tags[1.5]",
        "tags[True]",
        "tags[-'a']",
        "b'x'",
        "1j",
        "...",
        "1e400",
        "1e-7",
        "9" * 19,
        "0.1234567890123456789",
        "await name",
        "yield",
        "M",
        "g",
        "s",
        "c",
        "o",
        "v",
        "fails",
        "only",
        "f_trim(name)",
        "l_name",
        "v_x",
        "k_0",
        "dict",
        "str",
        "Mapped",
        "name; name",
        "name\nimport os",
        "import os",
        "x = 1",
        "name if",
        "name)",
        "'",
        "a\\u0000",
    ],
)
def test_what_is_not_in_the_language_is_refused_at_check(expression):
    with pytest.raises((MappingInvalid, YamlInvalid)):
        value(expression, {})


def test_a_refusal_names_the_construct():
    assert "'**' is not part of the language" in refusal("2 ** 9")
    assert "lambda is not part of the language" in refusal("lambda: 1")
    assert "names that start with '_' do not exist" in refusal("name.__class__")
    assert "'eval' is not a function" in refusal("eval('1')")


def test_compiled_code_has_no_builtins_in_its_reach():
    for variant in made(inbound("name: name")).variants.values():
        for function in (variant.when, variant.run, variant.part):
            assert function.__globals__["__builtins__"] == {}
            assert "sys" not in function.__globals__


@pytest.mark.parametrize("name", ["{0.__class__}", "%s%s%n", "'; import os; '", '"""', "\\", "${x}"])
def test_a_text_of_the_mapping_stays_a_text(name):
    quoted = name.replace("\\", "\\\\").replace("'", "\\'")
    assert value(f"'{quoted}'", {}, field="remark") == name


@pytest.mark.parametrize("name", ["x') or __import__('os') or ('", "a'b", 'a"b', "a\\"])
def test_a_name_of_the_file_never_becomes_code(name):
    with pytest.raises((MappingInvalid, YamlInvalid)):
        made(inbound(f"{name}: name"))


def doubling(step, last, levels=18):
    lets = "".join(f"  a{index + 1}: {step.format(f'a{index}')}\n" for index in range(levels))
    return inbound(f"custom.x: {last.format(f'a{levels}')}", more=f"let:\n  a0: name\n{lets}")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{0} + {0}", "a text of more than 16384 characters"),
        ("'[{0}, {0}]'", "a list or an object inside a list"),
        ("'[{0} for t in tags]'", "a list or an object inside a list"),
    ],
)
def test_doubling_stops_at_once(step, said):
    found = made(doubling(step, "{0}")).run({"id": 1, "name": "x" * 100, "tags": [1] * 500}, Context())
    assert found == Failed("custom.x", said, found.excerpt)


def test_lists_do_not_add_up():
    assert "cannot calculate with a list" in refusal("[name] + [name]")


def test_squaring_a_number_stops_at_the_digit_limit():
    lets = "".join(f"  a{index + 1}: a{index} * a{index}\n" for index in range(60))
    with at_once():
        found = made(inbound("custom.x: a60", more=f"let:\n  a0: count\n{lets}")).run(
            {"id": 1, "count": 9}, Context()
        )
    assert found.message == "a number of more than 18 digits"


def test_a_list_of_long_texts_stops_at_the_size_limit():
    found = value("[name + name for t in tags]", {"name": "x" * 1_000, "tags": [1] * 1_000})
    assert found.message == "a list of more than 262144 characters"


def test_a_text_does_not_multiply():
    assert isinstance(value("extra.n * extra.t", {"extra": {"n": 10**9, "t": "x"}}), Failed)


def test_a_deep_source_does_not_end_the_program():
    deep = "x"
    for _ in range(sys.getrecursionlimit() * 2):
        deep = [deep]
    assert isinstance(value("extra", {"extra": deep}), Failed)
    assert isinstance(value("[t for t in extra]", {"extra": deep}), Failed)


def test_a_hundred_fields_with_the_deepest_expressions_compile_in_time():
    deep = "1 if id else (" * 20 + "2" + ")" * 20
    with at_once(times=20):
        made(inbound("\n".join(f"custom.f{index}: {deep}" for index in range(100))))
