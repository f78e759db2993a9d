"""The ledger: what a stand-in really did, durable when it has a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from hub.errors import SettingsError

__all__ = ["Effect", "EffectLedger", "Json"]

Json: TypeAlias = Any
"""A JSON value as ``json.loads`` gives it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One change the stand-in really made; ``at`` is µs on the sandbox clock.

    ``by`` is ``api`` (the client under test), ``user`` (somebody in the vendor's own screens) or ``seed``.
    ``fields`` are business values as a person reads them; ``after`` is the stored row, None when it is gone.
    """

    seq: int
    at: int
    verb: str
    form: str
    id: int | str
    number: str
    by: str
    fields: Mapping[str, Json]
    after: Json = None

    def shown(self) -> dict[str, Json]:
        """Return the effect for a reader, without the stored row."""
        shown = asdict(self)
        del shown["after"]
        return shown


class EffectLedger:
    """The append-only list of effects really applied: the judge in demos and chaos runs.

    With a file, every effect is one JSON line; ``sync`` makes them durable, and a restart reads them again
    (a torn last line, the trace of a kill in mid-write, is cut off).

    Raises:
        SettingsError: a line of the file is no effect.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Read what ``file`` already holds, if it is there, and append to it from now on."""
        self._effects: list[Effect] = []
        self._dirty = False
        self._out = None
        if file is not None:
            self._read(file)
            self._out = file.open("ab")

    def _read(self, file: Path) -> None:
        if not file.exists():
            return
        raw = file.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.truncate(file, whole)
        for number, line in enumerate(raw[:whole].splitlines(), start=1):
            try:
                self._effects.append(Effect(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise SettingsError(f"not an effect: {error}", file=str(file), line=number) from error

    def record(
        self,
        verb: str,
        form: str,
        *,
        at: int,
        key: int | str,
        number: str,
        by: str,
        fields: Json,
        after: Json,
    ) -> Effect:
        """Append one effect under the next ``seq`` and return it."""
        effect = Effect(len(self._effects) + 1, at, verb, form, key, number, by, fields, after)
        self._effects.append(effect)
        if self._out is not None:
            self._out.write(orjson.dumps(effect, option=orjson.OPT_APPEND_NEWLINE))
            self._dirty = True
        return effect

    def sync(self) -> None:
        """Make everything recorded so far survive a kill -9; does nothing without a file."""
        if self._dirty and self._out is not None:
            self._out.flush()
            os.fsync(self._out.fileno())
            self._dirty = False

    def close(self) -> None:
        """Make everything durable and close the file."""
        self.sync()
        if self._out is not None:
            self._out.close()
            self._out = None

    def effects(
        self, *, by: str | None = None, form: str | None = None, verb: str | None = None
    ) -> list[Effect]:
        """Return the effects that match, oldest first; the form in any case."""
        return [
            effect
            for effect in self._effects
            if (by is None or effect.by == by)
            and (form is None or effect.form.lower() == form.lower())
            and (verb is None or effect.verb == verb)
        ]

    def __iter__(self) -> Iterator[Effect]:
        """Run over all effects, oldest first."""
        return iter(self._effects)

    def __len__(self) -> int:
        """Count all effects."""
        return len(self._effects)
