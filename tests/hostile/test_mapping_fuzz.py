"""Expressions at random never reach Python, never hang, and always end as one of the four outcomes."""

from __future__ import annotations

import pytest

from tests.fuzz.play import play


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_is_written_is_refused_or_ends_as_an_outcome(seed: int) -> None:
    told = play(400, seed)
    assert (told["escapes"], told["hangs"], told["crashes"], told["wrong"]) == (0, 0, 0, [])
    assert told["mapped"] > 8, "a fuzz that reaches nothing proves nothing"
    assert told["failed"] > 5
    assert told["refused"] > 50
