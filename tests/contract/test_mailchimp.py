"""The Mailchimp connector over its sandbox: the kit's tests."""

from __future__ import annotations

from connectors.mailchimp import MailchimpConnector
from hub.sdk.kit import connector_kit
from tests.contract.mailchimp_stand import MailchimpStand

TestMailchimp = connector_kit(MailchimpConnector, MailchimpStand)
