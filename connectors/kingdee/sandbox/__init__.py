"""A strict stand-in for a 金蝶云·星空 site, read from the fact sheet alone."""

from connectors.kingdee.sandbox.auth import Account
from connectors.kingdee.sandbox.dials import KingdeeDials
from connectors.kingdee.sandbox.server import KingdeeSandbox

__all__ = ["Account", "KingdeeDials", "KingdeeSandbox"]
