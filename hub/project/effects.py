"""What follows from a decision: per subject and state of an approval, what becomes of the record it is about.

``hub.yaml`` may replace the effects of a subject (``approvals: {effects: {contract: {approved: {...}}}}``); the others
stay as shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hub.model.fields import InvalidField
from hub.model.kinds import KINDS, Kind, normalise
from hub.project.routes import SUBJECTS

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.project.section import Section

__all__ = ["ABOUT", "EFFECTS", "Effect", "Effects", "read_effects"]

ABOUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "contract": "contract",
        "discount": "contract",
        "payment": "payment",
        "refund": "payment",
        "transfer": "customer",
    }
)
"""Subject -> the reference of an approval to the record that is decided about, and that record's kind."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of the record.

    ``set``: field -> value in stored form. ``when``: field -> the values it must have now (None: nothing); else
    nothing happens. ``open_plan``: the payment plan's rows are open now. ``move``: owner and region become those the
    approval names. ``amount``: the field that takes the approval's amount. ``comment``: the field that takes the last
    approver's words.
    """

    set: Mapping[str, Json] = field(default_factory=dict)
    when: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    open_plan: bool = False
    move: bool = False
    amount: str | None = None
    comment: str | None = None


Effects = Mapping[tuple[str, str], Effect]
"""(subject, state) -> what follows."""

_ASKED: Final = Effect({"status": "in_approval"}, {"status": (None, "draft", "suspended")})
_BACK: Final = Effect({"status": "draft"}, {"status": ("in_approval",)}, comment="approval_comment")
_REFUSED: Final = Effect({"refund_status": "refused"}, {"refund_status": ("requested",)})

EFFECTS: Final[Effects] = MappingProxyType(
    {
        ("contract", "submitted"): _ASKED,
        ("contract", "in_progress"): _ASKED,
        ("contract", "approved"): Effect(
            {"status": "active"}, {"status": (None, "draft", "in_approval")}, open_plan=True
        ),
        ("contract", "rejected"): _BACK,
        ("contract", "withdrawn"): _BACK,
        ("contract", "terminated"): _BACK,
        ("contract", "revoked"): Effect(
            {"status": "suspended"}, {"status": ("active",)}, comment="approval_comment"
        ),
        ("payment", "approved"): Effect({"status": "approved"}, {"status": (None, "draft", "submitted")}),
        ("refund", "submitted"): Effect({"refund_status": "requested"}, {"refund_status": (None, "refused")}),
        ("refund", "approved"): Effect(
            {"refund_status": "started"},
            {"refund_status": (None, "requested", "refused")},
            amount="refund_amount",
        ),
        ("refund", "rejected"): _REFUSED,
        ("refund", "withdrawn"): _REFUSED,
        ("refund", "terminated"): _REFUSED,
        ("transfer", "approved"): Effect(move=True),
    }
)
"""What is shipped. A revoked approval suspends its contract: what was received meanwhile needs a person."""


def read_effects(section: Section, kinds: Mapping[str, Kind] = KINDS) -> Effects:
    """Return the effects ``approvals.effects`` states, over those that are shipped; ``kinds``: with their custom fields."""
    found: dict[tuple[str, str], Effect] = {}
    stated = set()
    states = KINDS["approval"].fields["status"].choices
    for subject, of_subject in section.each("effects"):
        stated.add(subject)
        if subject not in SUBJECTS:
            of_subject.problem(None, f"there is no subject {subject!r}", known=SUBJECTS, named=subject)
        for state, one in of_subject.each_of():
            if state not in states:
                one.problem(None, f"an approval is never {state!r}", known=states, named=state)
            found[subject, state] = _effect(one, kinds.get(ABOUT.get(subject, "")))
    shipped = {key: effect for key, effect in EFFECTS.items() if key[0] not in stated}
    return {**shipped, **found}


def _effect(section: Section, kind: Kind | None) -> Effect:
    effect = Effect(
        set={name: value for name, (value,) in _values(section.section("set"), kind, lists=False).items()},
        when=_values(section.section("when"), kind, lists=True),
        open_plan=section.flag("open_plan"),
        move=section.flag("move"),
        amount=_field(section, "amount", kind),
        comment=_field(section, "comment", kind),
    )
    about = kind.name if kind is not None else None
    if effect.open_plan and about != "contract":
        section.problem("open_plan", "only a contract has a payment plan")
    if effect.move and about != "customer":
        section.problem("move", "only a customer is transferred")
    section.close()
    return effect


def _field(section: Section, key: str, kind: Kind | None) -> str | None:
    known = kind.fields if kind else {}
    return section.named(key, known, f"field of {kind.name if kind else 'what a custom approval is about'}")


def _values(section: Section, kind: Kind | None, *, lists: bool) -> dict[str, tuple[Json, ...]]:
    """Return field -> values in stored form; with ``lists`` several may stand there, and ``none`` means nothing."""
    found: dict[str, tuple[Json, ...]] = {}
    for name in section.names():
        texts = section.texts(name) if lists else [section.text(name) or ""]
        if kind is None or kind.field(name) is None:
            known, what = (kind.names(), kind.name) if kind else ([], "anything")
            section.problem(name, f"{name!r} is not a field of {what}", known=known, named=name)
            continue
        try:
            found[name] = tuple(
                None if text == "none" else normalise(kind, name, text) for text in texts or ()
            )
        except InvalidField as error:
            section.problem(name, error.message)
    return found
