"""The vendor's own faults and the switches for what the fact sheet leaves open."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from connectors.mailchimp.sandbox.answers import GLOSSARY
from hub.sdk.sandbox import Dials, NextFault

__all__ = ["MailchimpDials"]

Chance = Field(default=0.0, ge=0.0, le=1.0)


class MailchimpDials(Dials):
    """The common dials and the vendor's own; an ``op`` is such as ``members.put``, the form ``member``.

    More faults: ``error_NAME`` for any name of the glossary (``error_TooManyRequests``, ``error_APIKeyInvalid`` …) ·
    ``html_403`` (the burst shield: no JSON, 10). What the sheet marks UNCONFIRMED has a dial that says so.
    """

    FAULTS: ClassVar[frozenset[str]] = Dials.FAULTS | {"html_403", *(f"error_{name}" for name in GLOSSARY)}

    connections: int = Field(
        default=10, ge=1, description="calls at the same time; one more answers 429 (10)"
    )
    clamp_count: bool = Field(default=True, description="count above 1000 is cut; else 400 (UNCONFIRMED, 0)")
    archived_is_new: bool = Field(
        default=True, description="status_if_new acts on an archived contact too (UNCONFIRMED)"
    )
    tags_move_last_changed: bool = Field(
        default=False, description="a change of tags moves last_changed (UNCONFIRMED, 6)"
    )
    large_page_504: int = Field(default=0, ge=0, description="pages of more rows answer 504; 0: none (6)")
    batch_polls: int = Field(default=3, ge=0, description="looks at a batch until it is finished (5.2)")
    batch_empty_file: bool = Field(default=False, description="one result file is empty (5.2)")
    batch_url_seconds: float = Field(default=600.0, gt=0, description="life of a response_body_url")

    signing: bool = Field(default=True, description="webhooks made from now on are signed (9)")
    push_auto: bool = Field(
        default=True, description="deliver at once; else only POST /control/pushes/flush delivers"
    )
    push_timeout: float = Field(default=10.0, gt=0, description="real seconds until an answer is too late")
    push_ladder: list[float] = Field(
        default=[60.0, 300.0, 900.0, 1800.0, 1440.0],
        description="seconds before each repeat: 75 min in all, the gaps are this sandbox's (9)",
    )
    push_lose: float = Chance
    push_duplicate: float = Chance
    push_reorder: float = Chance
    push_reorder_seconds: float = Field(default=1.0, ge=0)
    push_tamper: float = Chance
    hash_as_id: bool = Field(default=False, description="data[id] of events is the hash (UNCONFIRMED, 9)")

    @field_validator("next")
    @classmethod
    def _known(cls, value: list[NextFault]) -> list[NextFault]:
        for item in value:
            if item.fault not in cls.FAULTS:
                raise ValueError(f"unknown fault {item.fault!r}; known: {', '.join(sorted(cls.FAULTS))}")
        return value

    def happens(self, dial: str) -> bool:
        """Draw one of the probabilities by name."""
        return self._chance(getattr(self, dial))
