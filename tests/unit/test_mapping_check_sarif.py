"""Problems as SARIF."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.mapping import Problem, sarif_log


def result(problem: Problem) -> dict:
    (found,) = sarif_log([problem], version="1")["runs"][0]["results"]
    return found


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("mappings/kingdee/customer.in.yaml", "mappings/kingdee/customer.in.yaml"),
        ("mappings/客户 1.yaml", "mappings/%E5%AE%A2%E6%88%B7%201.yaml"),
        (str(Path("/p/a b.yaml")), "file:///p/a%20b.yaml"),
    ],
)
def test_a_file_is_named_by_a_uri_that_stays_relative_if_it_was(file, uri):
    place = result(Problem(file, 1, 1, "", "x"))["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == uri


def test_a_message_carries_field_and_nearest_name_and_its_braces_are_no_placeholders():
    found = result(Problem("a.yaml", 3, 4, "fields.x", "write {0}", "y"))
    assert found["message"]["text"] == "fields.x: write {{0}}; did you mean 'y'?"


def test_warnings_are_results_of_their_own_level():
    one = Problem("a.yaml", 1, 1, "", "x")
    results = sarif_log([one], [one], version="1")["runs"][0]["results"]
    assert [found["level"] for found in results] == ["error", "warning"]
