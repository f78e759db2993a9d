"""What a storm of approvals needs of an approval system: its sandbox, its part of hub.yaml, what people can do, its forms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import PrivateAttr

from hub.sdk.sandbox import Dials
from tests.storm.site import StormClock

__all__ = [
    "AMOUNT",
    "CUSTOMER_NAME",
    "NUMBER",
    "PLANS",
    "USUAL",
    "CountingDials",
    "Form",
    "Plans",
    "Sky",
    "Vendor",
]

CUSTOMER_NAME, AMOUNT, NUMBER = "客户名称", "合同金额", "合同编号"
"""What the fields of the form are called at every vendor; ``NUMBER`` is added to the sandbox's own template."""
Plans = tuple[tuple[int, tuple[str, ...]], ...]
PLANS: Plans = (
    (6, ("one", "agree")),
    (4, ("agree",)),
    (3, ("agree", "revoke")),
    (2, ("comment", "one", "agree", "revoke")),
    (3, ("reject",)),
    (2, ("one", "reject")),
    (2, ("transfer", "reject")),
    (2, ("withdraw",)),
    (2, ("one", "comment", "withdraw")),
    (1, ("delete",)),
    (1, ("one", "delete")),
    (1, ("agree", "delete")),
    (1, ("reject", "delete")),
    (1, ()),
    (1, ("one",)),
)
"""Weight and steps, at every vendor. ``one``: whose turn it is agrees; ``agree``: everybody does, to the end."""


@dataclass(frozen=True)
class Sky:
    """The weather. Of creates: ``drop`` take effect and lose their answer, ``late`` take effect half a minute later, with
    no answer either, ``broken`` are never taken. Of callbacks: ``lose``, ``double``, ``overtake``. All 0 to 1.
    """

    drop: float = 0.2
    late: float = 0.03
    broken: float = 0.03
    lose: float = 0.15
    double: float = 0.2
    overtake: float = 0.4


USUAL = Sky()


class CountingDials(Dials):
    """Dials that count what calls and events met."""

    _met: Counter[str] = PrivateAttr(default_factory=Counter)

    @property
    def met(self) -> Counter[str]:
        """Fault -> how many met it."""
        return self._met

    def draw(self, op: str, form: str) -> str:
        fault = super().draw(op, form)
        if fault:
            self._met[fault] += 1
        return fault


@dataclass(frozen=True)
class Form:
    """A form as the vendor has it.

    ``number``: what the hub wrote into it, "" if people started it; ``contract``: the number that those gave. ``state``: in
    the hub's words, of one that is deleted the last before. ``acted``: how often people decided, handed on or took back.
    ``unseen``: deleted before any answer had shown it to the hub, and shown by none since.
    """

    id: str
    number: str
    contract: str
    state: str
    acted: int
    deleted: bool = False
    unseen: bool = False


class Vendor(ABC):
    """An approval system with its people."""

    name: ClassVar[str]
    """Of the connector, and of the connection."""
    create: ClassVar[str]
    """The sandbox's name of the call that starts a form."""
    verb: ClassVar[str]
    """What its ledger calls that."""
    template: ClassVar[str]
    applicants: ClassVar[Mapping[str, str]]
    """Code in the CRM -> userid."""
    secrets: ClassVar[Mapping[str, str]]
    """Name in hub.yaml -> what the sandbox calls it."""
    connection: ClassVar[str]
    """Settings in hub.yaml, with {base_url}, {template} and what the sandbox names as credentials."""
    plans: ClassVar[Plans]
    sandbox: Any

    def __init__(self, clock: StormClock, seed: int) -> None:
        """Open a corp without limits on calls; its events go out when they are flushed."""
        self.sandbox = self._made(clock, seed)

    @property
    def sync(self) -> str:
        """Return the sync that sweeps."""
        return f"{self.name}.approval.in"

    @property
    def faults(self) -> Counter[str]:
        """Return what creates met: fault -> how many."""
        dials: CountingDials = self.sandbox.dials
        return Counter({fault: met for fault, met in dials.met.items() if fault in dials.FAULTS})

    def created(self) -> list[str]:
        """Return the forms the hub has started, in order."""
        return [str(effect.id) for effect in self.sandbox.ledger().effects(by="api", verb=self.verb)]

    def weather(self, sky: Sky) -> None:
        """Set the dials."""
        dials = self.sandbox.dials
        dials.only, dials.late_by = [self.create], 30.0
        dials.apply_then_drop, dials.apply_late, dials.fail_before = sky.drop, sky.late, sky.broken
        self._events(sky)

    @abstractmethod
    def _made(self, clock: StormClock, seed: int) -> Any:
        """Return the sandbox, with ``NUMBER`` in the template."""

    @abstractmethod
    def _events(self, sky: Sky) -> None:
        """Have events come twice, late or never."""

    @abstractmethod
    def deliver_at_once(self) -> None:
        """Have events go out by themselves from now on."""

    @abstractmethod
    async def flush(self) -> None:
        """Deliver what is pending, retries at once."""

    @abstractmethod
    def counts(self) -> Mapping[str, int]:
        """Return what became of events: events, lost, duplicated, reordered among them."""

    @abstractmethod
    def ids(self) -> Iterable[str]:
        """Return the forms people can see; one they deleted may be among them."""

    @abstractmethod
    def forms(self) -> Sequence[Form]:
        """Return every form there ever was, in the order of their starts."""

    @abstractmethod
    def turns(self, id_: str) -> Sequence[str]:
        """Return whose turn it is."""

    @abstractmethod
    def start(self, userid: str, values: Mapping[str, str]) -> str:
        """Have somebody start a form himself; return its id."""

    @abstractmethod
    def do(self, id_: str, act: str, *, userid: str = "", to: str = "", said: str = "") -> None:
        """Do one step of a plan; without ``userid`` whoever may."""
