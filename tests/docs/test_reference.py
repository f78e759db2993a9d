"""The generated pages are what the code gives, and every example on them is true."""

from __future__ import annotations

from typing import Any

import pytest

from hub.mapping import Mapped
from tests.docs.reference import ROOT, SUBJECTS, cookbook, pages, result_of


@pytest.mark.parametrize("name", pages())
def test_a_generated_page_is_what_make_docs_writes(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == pages()[name], "run `make docs`"


@pytest.mark.parametrize("case", cookbook(), ids=lambda case: case["en"])
def test_a_case_of_the_cookbook_gives_what_it_says(case: dict[str, Any]) -> None:
    found = result_of(case["expression"], case["source"])
    assert isinstance(found, Mapped), found
    assert found.fields["custom.x"] == case["gives"]
    assert case["zh"] != case["en"]


def test_the_cookbook_has_twenty_cases_at_least_and_no_title_twice() -> None:
    titles = [case["en"] for case in cookbook()]
    assert len(titles) >= 20
    assert len(set(titles)) == len(titles)


def test_every_subject_has_its_name_in_both_languages() -> None:
    assert all(zh != en for zh, en in SUBJECTS.values())
