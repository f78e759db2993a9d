"""Mailchimp: members of an audience, their consent, campaign results; consent is read, never undone."""

from __future__ import annotations

from connectors.mailchimp.connector import MailchimpConnector

__all__ = ["MailchimpConnector"]
