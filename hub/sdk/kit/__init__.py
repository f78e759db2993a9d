"""The contract kit: the tests every connector gets for free, run over its own sandbox.

    TestAcme = connector_kit(AcmeConnector, AcmeStand)

in ``tests/contract/test_acme.py`` is all a connector's author writes, beside the :class:`Stand` that tells the kit
how the sandbox is seeded, disturbed and read. What a vendor does not allow is declared in the spec (``incremental``,
``read_with``, ``by_callback``, ``creates``, ``edits``, ``gone_codes``), and the kit asks for the other thing instead. Needs pytest and pytest-asyncio in mode ``auto``.
"""

from __future__ import annotations

from hub.sdk.connector import Connector
from hub.sdk.kit.answering import AnsweringTests
from hub.sdk.kit.declared import DeclaredTests
from hub.sdk.kit.reading import BesideTests, OnwardTests, ReadingTests, WholeTests
from hub.sdk.kit.stand import Bench, Fault, Stand, dead_url, latest, scripted
from hub.sdk.kit.tests import KitTests
from hub.sdk.kit.writing import (
    ChangingTests,
    CreatingTests,
    EditingTests,
    FixedTests,
    TakenTests,
    WritingTests,
)

__all__ = ["Bench", "Fault", "KitTests", "Stand", "connector_kit", "dead_url", "latest", "scripted"]


def connector_kit(connector: type[Connector], stand: type[Stand]) -> type[KitTests]:
    """Return the class of contract tests of one connector over one stand; bind it to a name that starts with Test."""
    bound: type[KitTests] = type("Bound", (KitTests,), {"connector": connector, "stand": stand})
    cases = bound.cases()
    needed: tuple[tuple[type[KitTests], str], ...] = (
        (ReadingTests, "read"),
        (OnwardTests, "onward"),
        (WholeTests, "whole"),
        (BesideTests, "beside"),
        (WritingTests, "object_name"),
        (CreatingTests, "created"),
        (ChangingTests, "changed"),
        (EditingTests, "edited"),
        (FixedTests, "fixed"),
        (TakenTests, "taken"),
    )
    parts: tuple[type[KitTests], ...] = (DeclaredTests, AnsweringTests)
    parts += tuple(part for part, over in needed if cases[over])
    return type(f"{connector.__name__}Contract", parts, {"connector": connector, "stand": stand})
