"""The dials: what a sandbox does wrong on purpose, by chance (seeded) or for the next calls."""

from __future__ import annotations

import hashlib
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

__all__ = ["Dials", "NextFault"]

Chance = Field(default=0.0, ge=0.0, le=1.0)


class NextFault(BaseModel):
    """One fault for the next ``times`` calls that match; an empty ``op`` or ``form`` matches every one."""

    model_config = ConfigDict(extra="forbid")

    fault: str
    op: str = ""
    form: str = ""
    times: int = Field(default=1, ge=1)

    def matches(self, op: str, form: str) -> bool:
        """Tell whether a call is meant, in any case of letters."""
        return self.op.lower() in ("", op.lower()) and self.form.lower() in ("", form.lower())


class Dials(BaseModel):
    """What the sandbox does wrong on purpose; numbers 0 to 1 are probabilities per matching call.

    Faults that apply nothing: ``fail_before`` cuts · ``http_429`` ``http_500`` ``http_502`` ``http_503``
    ``http_504`` ``html_200`` answer an HTML page. Faults that apply: ``apply_then_drop`` then cuts ·
    ``apply_then_502`` then answers an HTML page · ``apply_then_hang`` then is silent for ``hang_seconds``
    and cuts · ``cut_body`` cuts in mid-answer · ``apply_late`` cuts now, applies ``late_by`` seconds later.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    FAULTS: ClassVar[frozenset[str]] = frozenset((
        "fail_before", "http_429", "http_500", "http_502", "http_503", "http_504", "html_200",
        "apply_then_drop", "apply_then_502", "apply_then_hang", "cut_body", "apply_late",
    ))  # fmt: skip
    CHANCES: ClassVar[tuple[str, ...]] = (
        "fail_before", "http_502", "apply_then_drop", "apply_then_502", "cut_body", "apply_late",
    )  # fmt: skip

    seed: int = Field(default=0, description="same seed, same calls: same faults")
    only: list[str] = Field(default=[], description="operations the probabilities apply to; empty: all")
    form: str = Field(default="", description="form the probabilities apply to; empty: all")
    next: list[NextFault] = Field(
        default=[], description="one-shot faults, used up by matching calls in order"
    )
    fail_before: float = Chance
    http_502: float = Chance
    apply_then_drop: float = Chance
    apply_then_502: float = Chance
    cut_body: float = Chance
    apply_late: float = Chance
    late_by: float = Field(default=5.0, ge=0.0, description="seconds until a late operation takes effect")
    hang_seconds: float = Field(default=60.0, ge=0.0, description="how long apply_then_hang is silent")
    retry_after: int = Field(default=0, ge=0, description="Retry-After of http_429 in seconds; 0: none")
    latency_ms: float = Field(default=0.0, ge=0.0, description="wait before applying")
    answer_latency_ms: float = Field(default=0.0, ge=0.0, description="wait between applying and answering")
    down: bool | Literal["cut", "503"] = Field(default=False, description="outage: cut (true) or an HTML 503")

    _draws: int = PrivateAttr(default=0)

    @field_validator("next")
    @classmethod
    def _known(cls, value: list[NextFault]) -> list[NextFault]:
        for item in value:
            if item.fault not in cls.FAULTS:
                raise ValueError(f"unknown fault {item.fault!r}; known: {', '.join(sorted(cls.FAULTS))}")
        return value

    def draw(self, op: str, form: str) -> str:
        """Return the fault this call meets, "" for none; one-shot faults come first and are used up."""
        for item in self.next:
            if item.matches(op, form):
                item.times -= 1
                if not item.times:
                    self.next.remove(item)
                return item.fault
        if not self.meant(op, form):
            return ""
        return next((name for name in self.CHANCES if self._chance(getattr(self, name))), "")

    def meant(self, op: str, form: str) -> bool:
        """Tell whether ``only`` and ``form`` let the dials act on a call."""
        ops = [name.lower() for name in self.only]
        return (not ops or op.lower() in ops) and self.form.lower() in ("", form.lower())

    def _chance(self, probability: float) -> bool:
        if not probability:
            return False
        self._draws += 1
        digest = hashlib.sha256(f"{self.seed}:{self._draws}".encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56 < probability
