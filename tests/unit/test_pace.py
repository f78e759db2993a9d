"""How many messages of a complete read one transaction takes, by how long the ones before it took."""

from __future__ import annotations

import pytest

from hub.pipe.pace import LEAST, MOST, SECONDS, Pace


@pytest.mark.parametrize("each", [0.0001, 0.0004, 0.001, 0.002])
def test_a_batch_comes_to_last_as_long_as_what_is_live_may_wait(each: float) -> None:
    pace = Pace()
    for _ in range(20):
        pace.took(pace.size, pace.size * each)
    lasts = pace.size * each
    assert LEAST <= pace.size <= MOST
    assert pace.size == MOST or lasts == pytest.approx(SECONDS, rel=0.15)


def test_where_each_message_takes_long_a_batch_has_a_few_still() -> None:
    pace = Pace()
    for _ in range(20):
        pace.took(pace.size, 10.0)
    assert pace.size == LEAST


def test_the_end_of_a_read_and_a_clock_that_stands_still_say_nothing_of_the_pace() -> None:
    pace = Pace()
    before = pace.size
    pace.took(0, 0.5)
    pace.took(1, 0.5)
    assert pace.size == before
    for _ in range(20):
        pace.took(pace.size, 0.0)
    assert pace.size == MOST
