"""The catalogue of functions an expression may call, a file a subject.

A function gives null back for null and absent for absent, so that paths stay null-safe; whatever else it cannot take is a
:class:`Unmappable`, which parks the record with the name of the field. It does no I/O: what it needs to know
beside its arguments comes from the :class:`~hub.mapping.outcome.Context`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hub.mapping.functions.addresses import ADDRESSES
from hub.mapping.functions.amounts import AMOUNTS, exact
from hub.mapping.functions.entry import Function, Unmappable, Waiting
from hub.mapping.functions.lists import LISTS
from hub.mapping.functions.lookups import LOOKUPS
from hub.mapping.functions.moments import MOMENTS
from hub.mapping.functions.people import PEOPLE
from hub.mapping.functions.texts import TEXTS

__all__ = ["CATALOGUE", "FUNCTIONS", "Function", "Unmappable", "Waiting", "exact"]

CATALOGUE: Final[Mapping[str, tuple[Function, ...]]] = MappingProxyType(
    {
        "texts": TEXTS,
        "amounts": AMOUNTS,
        "moments": MOMENTS,
        "people": PEOPLE,
        "addresses": ADDRESSES,
        "lists": LISTS,
        "lookups": LOOKUPS,
    }
)
"""Subject -> its functions."""
FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {function.name: function for functions in CATALOGUE.values() for function in functions}
)
"""Every function by name."""
