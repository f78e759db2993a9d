"""Kit tests of reading: everything once, across pages, through changes and expired sessions."""

# ruff: noqa: D102 - a test's name is its sentence

from __future__ import annotations

import pytest

from hub.errors import Cause, ConnectionDown, TryAgain
from hub.sdk.connector import Failed, Gone, VendorKey
from hub.sdk.kit.stand import Fault, latest
from hub.sdk.kit.tests import KitTests

__all__ = ["ReadingTests"]


class ReadingTests(KitTests):
    """A stream is read whole; a cursor loses nothing."""

    async def test_everything_is_read_across_pages(self, stream: str) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, bench.stand.page_size * 2 + 1)
            before = bench.clock.now()
            pages = await bench.pages(bench.connect(), stream)
            assert len(pages) >= 3
            assert latest(pages).keys() == set(ids)
            for record in latest(pages).values():
                assert record.key.org == bench.stand.org
                assert before <= record.observed_at <= bench.clock.now()

    async def test_a_record_carries_every_declared_field(self, stream: str) -> None:
        async with self.open() as bench:
            (one,) = await bench.stand.seed(stream, 1)
            body = latest(await bench.pages(bench.connect(), stream))[one].body
            for name in self.connector.spec.streams[stream].fields:
                value = body
                for part in name.split("."):
                    assert isinstance(value, dict)
                    value = value[part]

    async def test_an_empty_stream_ends_and_its_cursor_goes_on(self, stream: str) -> None:
        async with self.open() as bench:
            connector = bench.connect()
            pages = await bench.pages(connector, stream)
            assert pages
            assert not latest(pages)
            (one,) = await bench.stand.seed(stream, 1)
            assert latest(await bench.pages(connector, stream, pages[-1].cursor)).keys() == {one}

    async def test_a_last_page_that_is_exactly_full_ends_the_read(self, stream: str) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, bench.stand.page_size * 2)
            assert latest(await bench.pages(bench.connect(), stream)).keys() == set(ids)

    async def test_a_cursor_goes_on_after_every_page_with_the_same_set(self, stream: str) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, bench.stand.page_size * 2 + 1)
            pages = await bench.pages(bench.connect(), stream)
            for index, page in enumerate(pages):
                rest = await bench.pages(bench.connect(), stream, page.cursor)
                assert latest([*pages[: index + 1], *rest]).keys() == set(ids), index

    async def test_what_was_read_is_not_shown_again_unless_it_changed(self, stream: str) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, bench.stand.page_size + 1)
            connector = bench.connect()
            cursor = (await bench.pages(connector, stream))[-1].cursor
            again = await bench.pages(connector, stream, cursor)
            assert not latest(again)
            await bench.stand.edit(stream, ids[0])
            assert latest(await bench.pages(connector, stream, again[-1].cursor)).keys() == {ids[0]}

    async def test_a_record_changed_during_paging_is_not_lost(self, stream: str) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, bench.stand.page_size * 3)
            connector = bench.connect()
            pages = []
            async for page in connector.read(stream, None, org=bench.stand.org):
                pages.append(page)
                if len(pages) == 1:
                    await bench.stand.edit(stream, ids[0])
                    await bench.stand.edit(stream, ids[-1])
            pages += await bench.pages(connector, stream, pages[-1].cursor)
            shown = latest(pages)
            now = await connector.fetch(stream, [VendorKey(bench.stand.org, one) for one in ids])
            assert shown.keys() == set(ids)
            assert [shown[one].body for one in ids] == [record.body for record in now]  # type: ignore[union-attr]

    async def test_single_records_are_fetched_in_order_and_missing_ones_are_gone(self, stream: str) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, 3)
            keys = [VendorKey(bench.stand.org, one) for one in (ids[2], "987654321", ids[0])]
            third, missing, first = await bench.connect().fetch(stream, keys)
            assert isinstance(missing, Gone)
            assert not isinstance(first, Gone | Failed)
            assert not isinstance(third, Gone | Failed)
            assert (third.key.id, first.key.id) == (ids[2], ids[0])

    async def test_a_session_that_expires_between_pages_is_renewed_silently(self, stream: str) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, bench.stand.page_size * 2 + 1)
            pages = []
            async for page in bench.connect().read(stream, None, org=bench.stand.org):
                pages.append(page)
                if len(pages) == 1:
                    bench.stand.inject(Fault.EXPIRED, "read", stream)
            assert latest(pages).keys() == set(ids)

    async def test_a_credential_refused_twice_is_connection_down(self, stream: str) -> None:
        async with self.open() as bench:
            bench.stand.inject(Fault.EXPIRED, "read", stream)
            bench.stand.inject(Fault.EXPIRED, "read", stream)
            with pytest.raises(ConnectionDown) as caught:
                await bench.pages(bench.connect(), stream)
            assert caught.value.cause is Cause.CREDENTIAL

    async def test_a_rate_limit_on_a_read_asks_to_wait(self, stream: str) -> None:
        async with self.open() as bench:
            bench.stand.inject(Fault.RATE, "read", stream)
            with pytest.raises(TryAgain) as caught:
                await bench.pages(bench.connect(), stream)
            assert caught.value.cause is Cause.RATE
            assert (caught.value.after or 0) > 0

    @pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.CUT, Fault.HTML, Fault.GARBLED])
    async def test_a_read_that_fails_may_be_tried_again(self, stream: str, fault: Fault) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, 1)
            connector = bench.connect()
            bench.stand.inject(fault, "read", stream)
            with pytest.raises(TryAgain):
                await bench.pages(connector, stream)
            assert latest(await bench.pages(connector, stream)).keys() == set(ids)
