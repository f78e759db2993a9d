"""Region paths and scopes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.model import Scope, ancestors, is_within, region_path, subtree_range

SEGMENT = st.text(alphabet="abz09_-", min_size=1, max_size=4).filter(lambda text: text[0] not in "_-")
PATHS = st.lists(SEGMENT, max_size=4).map(lambda parts: "".join(f"{part}/" for part in parts))


def test_a_path_is_stored_with_its_closing_slash():
    assert region_path("cn/south") == region_path("cn/south/") == "cn/south/"
    assert region_path("") == ""


@pytest.mark.parametrize(
    "text",
    [
        "/",
        "/cn",
        "cn//south",
        "cn/../de",
        "CN",
        "cn/南",
        "cn/ south",
        "a" * 41,
        "/".join("a" * 11),
        "cn/south//",
    ],
)
def test_a_path_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="region"):
        region_path(text)


def test_a_subtree_does_not_hold_a_sibling_that_begins_like_it():
    assert is_within("g/s/", "g/s/")
    assert is_within("g/s/a/", "g/s/")
    assert not is_within("g/sc/", "g/s/")
    low, high = subtree_range("g/s/")
    assert low <= "g/s/" < high
    assert not low <= "g/sc/" < high
    assert not low <= "g/s-1/" < high


@given(PATHS, PATHS)
def test_the_range_of_a_subtree_holds_exactly_its_paths(path, root):
    low, high = subtree_range(root)
    assert (low.encode() <= path.encode() < high.encode()) == is_within(path, root)


def test_the_ancestors_go_from_the_root_to_the_path_itself():
    assert ancestors("cn/south/") == ("", "cn/", "cn/south/")
    assert ancestors("") == ("",)


def test_a_scope_admits_by_region_entity_and_owner():
    scope = Scope(regions=("cn/south/",), entities=("sz",), owner="zhang")
    assert scope.admits("cn/south/shenzhen/", "sz", "zhang")
    assert not scope.admits("cn/", "sz", "zhang")
    assert not scope.admits("cn/south/", "gz", "zhang")
    assert not scope.admits("cn/south/", None, "zhang")
    assert not scope.admits("cn/south/", "sz", None)
    assert Scope.ALL.admits("", None, None)
    assert not Scope(regions=()).admits("", None, None)
