"""A strict stand-in for one tenant of 用友 YonBIP, read from the fact sheet alone."""

from connectors.yonyou.sandbox.dials import YonyouDials
from connectors.yonyou.sandbox.gate import Account
from connectors.yonyou.sandbox.server import YonyouSandbox

__all__ = ["Account", "YonyouDials", "YonyouSandbox"]
