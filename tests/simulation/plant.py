"""A pytest plugin: run the suite with one planted bug (``HUB_PLANT=name pytest -p tests.simulation.plant …``)."""

from __future__ import annotations

import os

import pytest

from tests.simulation.bugs import planted

_PLANTED = planted(os.environ["HUB_PLANT"])


def pytest_configure(config: pytest.Config) -> None:
    """Plant it before any test runs."""
    _PLANTED.__enter__()
    config.add_cleanup(lambda: _PLANTED.__exit__(None, None, None))
