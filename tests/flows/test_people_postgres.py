"""Two partitions that decide about one person, or one company, at the same moment: PostgreSQL with a real barrier."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from hub.pipe.jobs import lease
from hub.pipe.load import load_arrivals
from hub.pipe.take import Batch, take
from hub.pipe.world import World
from hub.store import Store
from hub.store.view import View
from tests.people_stand import PeopleStand

HUAXING = "深圳华星电子有限公司"


class Partitions:
    """Batches of different partitions, taken at once: the second over a connection of its own."""

    def __init__(self, url: str) -> None:
        self.stand = PeopleStand(url=url)
        self.second = Store.open(url, self.stand.clock)

    def close(self) -> None:
        self.second.close()
        self.stand.close()

    def take(self, store: Store, partition: int, pairs: list[tuple[str, str]]) -> None:
        held = store.run_now(lease, f"bus:test:{partition + 1}", "bus", f"t{partition}", 3600.0, {"next": 0})
        assert held is not None
        wanted = [self.stand.item("contact", person) for _, person in pairs]
        wanted += [self.stand.item("follow", "/".join(pair)) for pair in pairs]
        following = orjson.dumps({"next": held.at["next"] + len(wanted)}).decode()
        store.run_now(take, Batch(wanted, held.name, held.fence, held.position, following), self.stand.world)

    def at_once(self, first: list[tuple[str, str]], second: list[tuple[str, str]]) -> None:
        with ThreadPoolExecutor(2) as pool:
            futures = [
                pool.submit(self.take, store, number, pairs)
                for number, (store, pairs) in enumerate([(self.stand.store, first), (self.second, second)])
            ]
            for future in futures:
                future.result(30)


@pytest.fixture
def both(fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch):
    made = Partitions(fresh_postgres_url)
    barrier = threading.Barrier(2, timeout=0.5)
    armed = threading.Event()

    def load(view: View, items: Any, known: World) -> None:
        if armed.is_set():
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait()
        load_arrivals(view, items, known)

    monkeypatch.setattr("hub.pipe.take.load_arrivals", load)
    made.armed = armed  # type: ignore[attr-defined]
    yield made
    made.close()


def test_two_employees_pages_at_the_same_moment_both_count(both):
    stand = both.stand
    stand.add("LiLei", "wm1", mobiles=["13800138000"], day=1)
    stand.add("HanMei", "wm1", mobiles=["13900139000"], day=2)
    stand.take_items([stand.item("contact", "wm1")])
    both.armed.set()
    both.at_once([("LiLei", "wm1")], [("HanMei", "wm1")])
    contact = stand.one("contact")
    assert (contact["_owner"], sorted(contact["mobiles"])) == ("li.lei", ["+8613800138000", "+8613900139000"])


def two_of_one_company(both: Any) -> int:
    stand = both.stand
    stand.add("LiLei", "wm1", company=HUAXING)
    stand.add("LiLei", "wm2", company=HUAXING, name="李四")
    both.armed.set()
    both.at_once([("LiLei", "wm1")], [("LiLei", "wm2")])
    return len(stand.records("customer"))


def test_two_persons_of_one_new_company_at_the_same_moment_share_one_customer(both):
    assert two_of_one_company(both) == 1
    assert len({one["customer"] for one in both.stand.records("contact")}) == 1


def test_without_the_lock_of_the_name_they_would_make_two(both, monkeypatch):
    barrier = threading.Barrier(2, timeout=1.0)

    def lock_keys(self: View, wanted: Any) -> None:
        if any(name == "customer.name" for name, _ in wanted):
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait()

    monkeypatch.setattr(View, "lock_keys", lock_keys)
    assert two_of_one_company(both) == 2
