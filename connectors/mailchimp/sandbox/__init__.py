"""A strict stand-in for one Mailchimp account with its audiences, read from the fact sheet alone."""

from connectors.mailchimp.sandbox.dials import MailchimpDials
from connectors.mailchimp.sandbox.gate import Account
from connectors.mailchimp.sandbox.server import MailchimpSandbox

__all__ = ["Account", "MailchimpDials", "MailchimpSandbox"]
