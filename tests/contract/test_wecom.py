"""The contract kit over the WeCom sandbox, as far as a vendor allows that shows everything at once and creates nothing."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.wecom import WeComConnector
from hub.errors import RemoteError
from hub.sdk import Failed, Gone, VendorKey
from hub.sdk.kit import latest, scripted
from hub.sdk.kit.answering import AnsweringTests
from hub.sdk.kit.declared import DeclaredTests
from hub.sdk.kit.reading import ReadingTests
from tests.wecom_stand import TOKEN, UserStand, WeComStand, related, writing

NO_RELATION = ("84061", "40096")
BY_CALLBACK = frozenset(["deleted_by_contact_at"])


class TestDeclared(DeclaredTests):
    connector, stand = WeComConnector, WeComStand


class TestAnswering(AnsweringTests):
    connector, stand = WeComConnector, WeComStand

    async def test_a_documented_code_on_a_write_gives_its_error(self, code: str) -> None:
        if code not in NO_RELATION:
            await super().test_a_documented_code_on_a_write_gives_its_error(code)
            return
        async with self.open() as bench:
            (ref,) = await related(bench)
            connector = bench.connect(http=scripted(TOKEN, bench.stand.coded(code)))
            assert await bench.one(connector, writing(bench, ref, "remark")) == Gone(
                VendorKey("", ref.vendor_id)
            )

    async def _written(self, code: str) -> RemoteError:
        """As the kit; the token is good and the relation exists."""
        async with self.open() as bench:
            (ref,) = await related(bench)
            connector = bench.connect(http=scripted(TOKEN, bench.stand.coded(code)))
            result = await bench.one(connector, writing(bench, ref, "remark"))
            assert isinstance(result, Failed), result
            return result.error

    async def _read(self, code: str) -> RemoteError:
        async with self.open() as bench:
            connector = bench.connect(http=scripted(TOKEN, bench.stand.coded(code)))
            with pytest.raises(RemoteError) as caught:
                await bench.pages(connector, "follow")
            return caught.value


class _Everything(ReadingTests):
    """The kit where every read shows everything: a new read begins without a cursor."""

    async def test_a_record_carries_every_declared_field(self, stream: str) -> None:
        async with self.open() as bench:
            (one,) = await bench.stand.seed(stream, 1)
            body = latest(await bench.pages(bench.connect(), stream))[one].body
            for name in self.connector.spec.streams[stream].fields.keys() - BY_CALLBACK:
                value: Any = body
                for part in name.split("."):
                    value = value[part]

    async def test_an_empty_stream_ends_and_its_cursor_goes_on(self, stream: str) -> None:
        async with self.open() as bench:
            connector = bench.connect()
            pages = await bench.pages(connector, stream)
            assert pages
            assert not latest(pages)
            assert not latest(await bench.pages(connector, stream, pages[-1].cursor))
            (one,) = await bench.stand.seed(stream, 1)
            assert latest(await bench.pages(connector, stream)).keys() == {one}

    async def test_what_was_read_is_not_shown_again_unless_it_changed(self, stream: str) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, bench.stand.page_size + 1)
            first = latest(await bench.pages(bench.connect(), stream))
            again = latest(await bench.pages(bench.connect(), stream))
            assert first.keys() == set(ids)
            assert {one: record.body for one, record in first.items()} == {
                one: record.body for one, record in again.items()
            }
            await bench.stand.edit(stream, ids[0])
            changed = latest(await bench.pages(bench.connect(), stream))
            assert [one for one in ids if changed[one].body != first[one].body] == [ids[0]]

    async def test_a_record_changed_during_paging_is_not_lost(self, stream: str) -> None:
        async with self.open() as bench:
            ids = await bench.stand.seed(stream, bench.stand.page_size * 3)
            connector = bench.connect()
            seen = 0
            async for _ in connector.read(stream, None):
                seen += 1
                if seen == 1:
                    await bench.stand.edit(stream, ids[0])
                    await bench.stand.edit(stream, ids[-1])
            shown = latest(await bench.pages(connector, stream))
            now = await connector.fetch(stream, [VendorKey("", one) for one in ids])
            assert [shown[one].body for one in ids] == [record.body for record in now]


class TestReadingFollows(_Everything):
    connector, stand = WeComConnector, WeComStand

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        if "stream" in metafunc.fixturenames:
            metafunc.parametrize("stream", ["follow"])


class TestReadingUsers(_Everything):
    connector, stand = WeComConnector, UserStand

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        if "stream" in metafunc.fixturenames:
            metafunc.parametrize("stream", ["user"])
