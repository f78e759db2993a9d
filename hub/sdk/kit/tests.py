"""What every part of the kit shares: the connector and the stand under test, a case per stream, object and code."""

from __future__ import annotations

import contextlib
from typing import ClassVar

import pytest

from hub.sdk.connector import Connector
from hub.sdk.kit.stand import Bench, Stand

__all__ = ["KitTests"]


class KitTests:
    """Tests of one connector; ``stream``, ``object_name`` and ``code`` run over what its spec declares."""

    connector: ClassVar[type[Connector]]
    stand: ClassVar[type[Stand]]

    def open(self) -> contextlib.AbstractAsyncContextManager[Bench]:
        """Run a fresh sandbox for one test."""
        return Bench.open(self.connector, self.stand)

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Make a case per stream, object, documented code and setting."""
        spec = cls.connector.spec
        cases = {
            "stream": list(spec.streams),
            "object_name": list(spec.objects),
            "code": list(spec.codes),
            "setting": [setting.name for setting in spec.settings],
            "required_setting": [setting.name for setting in spec.settings if setting.default is None],
        }
        for name in cases.keys() & set(metafunc.fixturenames):
            metafunc.parametrize(name, cases[name])
