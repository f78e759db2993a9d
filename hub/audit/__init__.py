"""The audit trail: acts are sealed, handed out, exported, and verified by a file that needs nothing of the hub.

Functions are imported from their modules (``hub.audit.seal.seal``): three of them bear their module's name.
"""

from __future__ import annotations

from hub.audit.seal import Heads, Signer
from hub.audit.verify import Damage, Report, Unreadable

__all__ = ["Damage", "Heads", "Report", "Signer", "Unreadable"]
