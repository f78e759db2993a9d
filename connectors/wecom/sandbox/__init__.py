"""A strict stand-in for one corp of 企业微信, read from the fact sheet alone."""

from connectors.wecom.sandbox.apps import App
from connectors.wecom.sandbox.callbacks import HandshakeError
from connectors.wecom.sandbox.dials import WeComDials
from connectors.wecom.sandbox.server import WeComSandbox

__all__ = ["App", "HandshakeError", "WeComDials", "WeComSandbox"]
