"""Leased jobs: who holds one, for how long, and what a sleeper can still do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hub.errors import IntegrityError
from hub.pipe.jobs import lease, release, save_position
from hub.pipe.read import LEASE
from hub.store import Store
from tests.simulation.rules import SteppedClock


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def store(clock: SteppedClock) -> Iterator[Store]:
    opened = Store.open("sqlite://", clock, inline=True)
    yield opened
    opened.close()


def taken(store: Store, holder: str):
    return store.run_now(lease, "read:x", "reader", holder, LEASE)


def test_a_dead_reader_s_stream_is_free_again_within_a_minute(store: Store, clock: SteppedClock):
    assert taken(store, "dead")
    assert taken(store, "next") is None
    clock.at += 60.001
    assert taken(store, "next")


def test_a_reader_that_saves_pages_keeps_its_stream(store: Store, clock: SteppedClock):
    held = taken(store, "reader")
    for page in range(3):
        clock.at += 50
        store.run_now(save_position, held, page, due=0, seconds=LEASE)
    assert taken(store, "other") is None
    store.run_now(release, held)
    assert taken(store, "other")


def test_a_reader_that_wakes_up_late_saves_nothing(store: Store, clock: SteppedClock):
    held = taken(store, "sleeper")
    clock.at += 61
    taken(store, "next")
    with pytest.raises(IntegrityError, match="took over"):
        store.run_now(save_position, held, 1, due=0, seconds=LEASE)
