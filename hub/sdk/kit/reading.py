"""Kit tests of reading: everything once, across pages, through changes and expired sessions."""

# ruff: noqa: D102 - a test's name is its sentence

from __future__ import annotations

import pytest

from hub.errors import Cause, ConnectionDown, TryAgain
from hub.sdk.connector import Failed, Gone, VendorKey
from hub.sdk.kit.stand import Fault, latest
from hub.sdk.kit.tests import KitTests

__all__ = ["BesideTests", "OnwardTests", "ReadingTests", "WholeTests"]


class ReadingTests(KitTests):
    """A stream is read whole, whatever happens between two pages."""

    async def test_everything_is_read_across_pages(self, read: str) -> None:
        async with self.ready(read) as bench:
            ids = await bench.stand.seed(read, bench.stand.page_size * 2 + 1)
            before = bench.clock.now()
            pages = await bench.pages(bench.connect(), read)
            assert len(pages) >= 3
            assert latest(pages).keys() == set(ids)
            for record in latest(pages).values():
                assert record.key.org == bench.stand.org
                assert before <= record.observed_at <= bench.clock.now()

    async def test_a_record_carries_every_declared_field(self, read: str) -> None:
        async with self.ready(read) as bench:
            (one,) = await bench.stand.seed(read, 1)
            body = latest(await bench.pages(bench.connect(), read))[one].body
            declared = self.connector.spec.streams[read]
            for name in declared.fields.keys() - set(declared.by_callback):
                value = body
                for part in name.split("."):
                    assert isinstance(value, dict)
                    value = value[part]

    async def test_a_last_page_that_is_exactly_full_ends_the_read(self, read: str) -> None:
        async with self.ready(read) as bench:
            ids = await bench.stand.seed(read, bench.stand.page_size * 2)
            assert latest(await bench.pages(bench.connect(), read)).keys() == set(ids)

    async def test_a_cursor_goes_on_after_every_page_with_the_same_set(self, read: str) -> None:
        async with self.ready(read) as bench:
            ids = await bench.stand.seed(read, bench.stand.page_size * 2 + 1)
            pages = await bench.pages(bench.connect(), read)
            for index, page in enumerate(pages):
                rest = await bench.pages(bench.connect(), read, page.cursor)
                assert latest([*pages[: index + 1], *rest]).keys() == set(ids), index

    async def test_single_records_are_fetched_in_order_and_missing_ones_are_gone(self, stream: str) -> None:
        async with self.ready(stream) as bench:
            ids = await bench.stand.seed(stream, 3)
            keys = [VendorKey(bench.stand.org, one) for one in (ids[2], "987654321", ids[0])]
            third, missing, first = await bench.connect().fetch(stream, keys)
            assert isinstance(missing, Gone)
            assert not isinstance(first, Gone | Failed)
            assert not isinstance(third, Gone | Failed)
            assert (third.key.id, first.key.id) == (ids[2], ids[0])

    async def test_a_session_that_expires_between_pages_is_renewed_silently(self, read: str) -> None:
        async with self.ready(read) as bench:
            ids = await bench.stand.seed(read, bench.stand.page_size * 2 + 1)
            pages = []
            async for page in bench.connect().read(read, None, org=bench.stand.org):
                pages.append(page)
                if len(pages) == 1:
                    bench.stand.inject(Fault.EXPIRED, "read", read)
            assert latest(pages).keys() == set(ids)

    async def test_a_credential_refused_twice_is_connection_down(self, read: str) -> None:
        async with self.ready(read) as bench:
            bench.stand.inject(Fault.EXPIRED, "read", read)
            bench.stand.inject(Fault.EXPIRED, "read", read)
            with pytest.raises(ConnectionDown) as caught:
                await bench.pages(bench.connect(), read)
            assert caught.value.cause is Cause.CREDENTIAL

    async def test_a_rate_limit_on_a_read_asks_to_wait(self, read: str) -> None:
        async with self.ready(read) as bench:
            bench.stand.inject(Fault.RATE, "read", read)
            with pytest.raises(TryAgain) as caught:
                await bench.pages(bench.connect(), read)
            assert caught.value.cause is Cause.RATE
            assert (caught.value.after or 0) > 0

    @pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.CUT, Fault.HTML, Fault.GARBLED])
    async def test_a_read_that_fails_may_be_tried_again(self, read: str, fault: Fault) -> None:
        async with self.ready(read) as bench:
            ids = await bench.stand.seed(read, 1)
            connector = bench.connect()
            bench.stand.inject(fault, "read", read)
            with pytest.raises(TryAgain):
                await bench.pages(connector, read)
            assert latest(await bench.pages(connector, read)).keys() == set(ids)


class OnwardTests(KitTests):
    """A stream whose read goes on from its last cursor; nothing is lost between two reads."""

    async def test_an_empty_stream_ends_and_its_cursor_goes_on(self, onward: str) -> None:
        async with self.ready(onward) as bench:
            connector = bench.connect()
            pages = await bench.pages(connector, onward)
            assert pages
            assert not latest(pages)
            (one,) = await bench.stand.seed(onward, 1)
            assert latest(await bench.pages(connector, onward, pages[-1].cursor)).keys() == {one}

    async def test_what_was_read_is_not_shown_again_unless_it_changed(self, onward: str) -> None:
        async with self.ready(onward) as bench:
            ids = await bench.stand.seed(onward, bench.stand.page_size + 1)
            connector = bench.connect()
            cursor = (await bench.pages(connector, onward))[-1].cursor
            again = await bench.pages(connector, onward, cursor)
            assert not latest(again)
            await bench.stand.edit(onward, ids[0])
            assert latest(await bench.pages(connector, onward, again[-1].cursor)).keys() == {ids[0]}

    async def test_a_record_changed_during_paging_is_not_lost(self, onward: str) -> None:
        async with self.ready(onward) as bench:
            ids = await bench.stand.seed(onward, bench.stand.page_size * 3)
            connector = bench.connect()
            pages = []
            async for page in connector.read(onward, None, org=bench.stand.org):
                pages.append(page)
                if len(pages) == 1:
                    await bench.stand.edit(onward, ids[0])
                    await bench.stand.edit(onward, ids[-1])
            pages += await bench.pages(connector, onward, pages[-1].cursor)
            shown = latest(pages)
            now = await connector.fetch(onward, [VendorKey(bench.stand.org, one) for one in ids])
            assert shown.keys() == set(ids)
            assert [shown[one].body for one in ids] == [record.body for record in now]  # type: ignore[union-attr]


class WholeTests(KitTests):
    """A stream of which every read shows everything (``incremental`` False): a new read begins without a cursor."""

    async def test_an_empty_stream_ends_and_the_next_read_shows_what_came(self, whole: str) -> None:
        async with self.ready(whole) as bench:
            connector = bench.connect()
            pages = await bench.pages(connector, whole)
            assert pages
            assert not latest(pages)
            assert not latest(await bench.pages(connector, whole, pages[-1].cursor))
            (one,) = await bench.stand.seed(whole, 1)
            assert latest(await bench.pages(connector, whole)).keys() == {one}

    async def test_a_second_read_shows_the_same_but_for_what_changed(self, whole: str) -> None:
        async with self.ready(whole) as bench:
            ids = await bench.stand.seed(whole, bench.stand.page_size + 1)
            first = latest(await bench.pages(bench.connect(), whole))
            again = latest(await bench.pages(bench.connect(), whole))
            assert first.keys() == set(ids)
            assert {one: record.body for one, record in first.items()} == {
                one: record.body for one, record in again.items()
            }
            await bench.stand.edit(whole, ids[0])
            changed = latest(await bench.pages(bench.connect(), whole))
            assert [one for one in ids if changed[one].body != first[one].body] == [ids[0]]

    async def test_a_record_changed_during_paging_is_shown_by_the_next_read(self, whole: str) -> None:
        async with self.ready(whole) as bench:
            ids = await bench.stand.seed(whole, bench.stand.page_size * 3)
            connector = bench.connect()
            seen = 0
            async for _ in connector.read(whole, None, org=bench.stand.org):
                seen += 1
                if seen == 1:
                    await bench.stand.edit(whole, ids[0])
                    await bench.stand.edit(whole, ids[-1])
            shown = latest(await bench.pages(connector, whole))
            now = await connector.fetch(whole, [VendorKey(bench.stand.org, one) for one in ids])
            assert shown.keys() == set(ids)
            assert [shown[one].body for one in ids] == [record.body for record in now]  # type: ignore[union-attr]


class BesideTests(KitTests):
    """A stream that has no read of its own: the read of another shows it (``read_with``)."""

    async def test_the_other_read_shows_every_record_with_its_declared_fields(self, beside: str) -> None:
        declared = self.connector.spec.streams[beside]
        assert declared.read_with is not None
        async with self.ready(declared.read_with) as bench:
            ids = await bench.stand.seed(beside, bench.stand.page_size * 2 + 1)
            connector = bench.connect()
            shown = latest(await bench.pages(connector, declared.read_with), beside)
            assert shown.keys() == set(ids)
            now = await connector.fetch(beside, [VendorKey(bench.stand.org, one) for one in ids])
            assert [shown[one].body for one in ids] == [record.body for record in now]  # type: ignore[union-attr]
            body = shown[ids[0]].body
            assert isinstance(body, dict)
            assert declared.fields.keys() - set(declared.by_callback) <= body.keys()

    async def test_it_stands_on_the_page_that_shows_what_hangs_on_it(self, beside: str) -> None:
        declared = self.connector.spec.streams[beside]
        assert declared.read_with is not None
        async with self.ready(declared.read_with) as bench:
            await bench.stand.seed(beside, bench.stand.page_size + 1)
            pages = await bench.pages(bench.connect(), declared.read_with)
            assert self.connector.spec.streams[declared.read_with].parent == beside
            for page in pages:
                here = {one.key.id for stream, one in page.beside if stream == beside}
                assert {record.key.id.rpartition("/")[2] for record in page.records} <= here

    async def test_it_has_no_read_of_its_own(self, beside: str) -> None:
        async with self.ready(beside) as bench:
            with pytest.raises(NotImplementedError):
                await bench.pages(bench.connect(), beside)
