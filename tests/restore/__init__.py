"""A backup, receipts after it, the restore, and a CRM that sends everything again: nothing is booked twice."""

from __future__ import annotations
