"""Records, money, text normal forms, region paths and the event envelope: pure values, no I/O."""

from __future__ import annotations

from hub.model.event import Event, InvalidEvent
from hub.model.fields import Field, InvalidField, InvalidFields
from hub.model.kinds import KINDS, Kind, check_body, digest_form, key_values, normal_form, normalise
from hub.model.money import InvalidMoney, Money, amount_text, exponent, parse_amount, quantise
from hub.model.record import MISSING, Json, Missing, Scope
from hub.model.region import ancestors, is_within, region_path, subtree_range
from hub.model.text import (
    InvalidText,
    bare_text,
    company_key,
    company_name,
    credit_code,
    email,
    key_text,
    person_name,
    phone,
)

__all__ = [
    "KINDS",
    "MISSING",
    "Event",
    "Field",
    "InvalidEvent",
    "InvalidField",
    "InvalidFields",
    "InvalidMoney",
    "InvalidText",
    "Json",
    "Kind",
    "Missing",
    "Money",
    "Scope",
    "amount_text",
    "ancestors",
    "bare_text",
    "check_body",
    "company_key",
    "company_name",
    "credit_code",
    "digest_form",
    "email",
    "exponent",
    "is_within",
    "key_text",
    "key_values",
    "normal_form",
    "normalise",
    "parse_amount",
    "person_name",
    "phone",
    "quantise",
    "region_path",
    "subtree_range",
]
