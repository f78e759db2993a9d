"""What every part of the kit shares: the connector and the stand under test, a case per stream, object and code."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from hub.sdk.connector import Connector
from hub.sdk.kit.stand import Bench, Stand

__all__ = ["KitTests"]


class KitTests:
    """Tests of one connector; the names of `cases` run over what its spec declares."""

    connector: ClassVar[type[Connector]]
    stand: ClassVar[type[Stand]]

    def open(self) -> contextlib.AbstractAsyncContextManager[Bench]:
        """Run a fresh sandbox for one test."""
        return Bench.open(self.connector, self.stand)

    @contextlib.asynccontextmanager
    async def ready(self, name: str) -> AsyncIterator[Bench]:
        """Run a fresh sandbox with everything there that an object or a stream of that name needs."""
        async with self.open() as bench:
            await bench.stand.prepare(name)
            yield bench

    @classmethod
    def cases(cls) -> dict[str, list[str]]:
        """Return what each name runs over: a stream with a read of its own is ``onward`` or ``whole``, else ``beside``."""
        spec = cls.connector.spec
        own = [one for one in spec.streams.values() if one.read_with is None]
        return {
            "stream": list(spec.streams),
            "read": [one.name for one in own],
            "onward": [one.name for one in own if one.incremental],
            "whole": [one.name for one in own if not one.incremental],
            "beside": [one.name for one in spec.streams.values() if one.read_with is not None],
            "object_name": list(spec.objects),
            "created": [one.name for one in spec.objects.values() if one.creates],
            "changed": [one.name for one in spec.objects.values() if not one.creates],
            "edited": [one.name for one in spec.objects.values() if one.edits],
            "fixed": [one.name for one in spec.objects.values() if not one.edits],
            "taken": [one.name for one in spec.objects.values() if not one.edits and one.reopen],
            "code": list(spec.codes),
            "setting": [setting.name for setting in spec.settings],
            "required_setting": [setting.name for setting in spec.settings if setting.default is None],
        }

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Make a case per stream, object, documented code and setting."""
        cases = cls.cases()
        for name in cases.keys() & set(metafunc.fixturenames):
            metafunc.parametrize(name, cases[name])
