"""One token for all workers: whoever needs a new one first asks the vendor, the others use it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hub.clock import SystemClock
from hub.errors import TryAgain
from hub.pipe.tokens import StoredToken
from hub.sdk.secret import Secret
from hub.sdk.token import TokenSource
from hub.store import Store
from hub.vault import Vault
from tests.stores import ask, served_store


class Vendor:
    """Gives tokens that are numbered; the last one is good."""

    def __init__(self, life: float | None = 7200.0) -> None:
        self.given, self.life, self.asking = 0, life, 0

    async def token(self) -> tuple[Secret, float | None]:
        self.asking += 1
        assert self.asking == 1, "two at once"
        await asyncio.sleep(0)
        self.asking -= 1
        self.given += 1
        return Secret(f"token-{self.given}"), self.life


@pytest.fixture
def source(served_store: Store) -> Callable[..., TokenSource]:
    clock = SystemClock()
    vault = Vault.in_memory(clock)

    def make(vendor: Vendor, worker: str, credential: str = "a") -> TokenSource:
        shared = StoredToken(served_store, vault, clock, worker, f"hub.token.{credential}")
        return TokenSource(vendor.token, clock=clock, shared=shared)

    return make


async def test_workers_that_start_together_ask_the_vendor_once(source: Callable[..., TokenSource]) -> None:
    vendor = Vendor()
    found = await asyncio.gather(*(source(vendor, f"w{number}").token() for number in range(4)))
    assert {token.value for token in found} == {Secret("token-1")}
    assert vendor.given == 1


async def test_a_token_that_failed_is_renewed_by_one_worker_for_all(
    source: Callable[..., TokenSource],
) -> None:
    vendor = Vendor()
    workers = [source(vendor, f"w{number}") for number in range(3)]
    first = [await worker.token() for worker in workers]
    renewed = await asyncio.gather(
        *(worker.token(failed=token.version) for worker, token in zip(workers, first, strict=True))
    )
    assert {token.value for token in renewed} == {Secret("token-2")}
    assert vendor.given == 2


async def test_a_worker_that_comes_later_uses_what_is_there_and_knows_how_long(
    source: Callable[..., TokenSource],
) -> None:
    vendor = Vendor(life=7200.0)
    await source(vendor, "a").token()
    later = await source(vendor, "b").token()
    assert vendor.given == 1
    assert later.expires is not None


async def test_a_token_whose_life_is_over_is_fetched_anew(source: Callable[..., TokenSource]) -> None:
    vendor = Vendor(life=0.0)
    await source(vendor, "a").token()
    assert (await source(vendor, "b").token()).value == Secret("token-2")


async def test_another_credential_has_another_token(source: Callable[..., TokenSource]) -> None:
    vendor = Vendor()
    await source(vendor, "a", "one").token()
    assert (await source(vendor, "a", "other").token()).value == Secret("token-2")


async def test_a_refresh_that_fails_lets_the_next_one_try(source: Callable[..., TokenSource]) -> None:
    vendor = Vendor()

    class Down(Vendor):
        async def token(self) -> tuple[Secret, float | None]:
            raise TryAgain("down")

    with pytest.raises(TryAgain):
        await source(Down(), "a").token()
    assert (await source(vendor, "b").token()).value == Secret("token-1")


async def test_a_token_is_sealed_where_it_lies(
    source: Callable[..., TokenSource], served_store: Store
) -> None:
    await source(Vendor(), "a").token()
    rows = served_store.read_now(ask, "SELECT sealed FROM secrets")
    assert rows
    assert all(b"token-1" not in bytes(sealed) for (sealed,) in rows)
