"""Kit tests of what answers mean: every documented code, and one nobody knows."""

# ruff: noqa: D102 - a test's name is its sentence

from __future__ import annotations

import pytest

from hub.errors import OutcomeUnknown, RemoteError, TryAgain
from hub.sdk.connector import Failed, Gone, WriteResult
from hub.sdk.kit.stand import scripted
from hub.sdk.kit.tests import KitTests

__all__ = ["AnsweringTests"]

UNKNOWN = "987654"


class AnsweringTests(KitTests):
    """A code means what the spec says, on a write and on a read."""

    async def test_a_documented_code_on_a_write_gives_its_error(self, code: str) -> None:
        result = await self._result(code)
        name = next(iter(self.stand.plans))
        if code in self.connector.spec.objects[name].gone_codes:
            assert isinstance(result, Gone)
            return
        assert isinstance(result, Failed), result
        error = result.error
        assert type(error).__name__ == self.connector.spec.codes[code]
        assert error.code == code

    async def test_a_documented_code_on_a_read_gives_its_error_or_a_retry(self, code: str) -> None:
        error = await self._read(code)
        named = self.connector.spec.codes[code]
        assert type(error).__name__ == ("TryAgain" if named == "OutcomeUnknown" else named)

    async def test_an_unknown_code_leaves_a_write_in_doubt_and_shows_itself(self) -> None:
        error = await self._written(UNKNOWN)
        assert isinstance(error, OutcomeUnknown)
        assert error.code == UNKNOWN
        assert UNKNOWN in str(error)

    async def test_an_unknown_code_lets_a_read_try_again_and_shows_itself(self) -> None:
        error = await self._read(UNKNOWN)
        assert isinstance(error, TryAgain)
        assert UNKNOWN in str(error)

    async def _written(self, code: str) -> RemoteError:
        result = await self._result(code)
        assert isinstance(result, Failed), result
        return result.error

    async def _result(self, code: str) -> WriteResult:
        name = next(iter(self.stand.plans))
        async with self.ready(name) as bench:
            connector = bench.connect(http=scripted(*bench.stand.greeting, bench.stand.coded(code)))
            return await bench.one(connector, await bench.begin(name))

    async def _read(self, code: str) -> RemoteError:
        async with self.open() as bench:
            connector = bench.connect(http=scripted(*bench.stand.greeting, bench.stand.coded(code)))
            with pytest.raises(RemoteError) as caught:
                await bench.pages(connector, self.cases()["read"][0])
            return caught.value
