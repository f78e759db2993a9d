"""The frame every vendor sandbox stands on: ledger, virtual clock, dials, control door, real socket.

A sandbox is a strict, stateful stand-in for one vendor. It may import nothing else of the hub, so that it
stays an independent reading of the vendor's documents. One sandbox lives in one event loop; an operation is
applied in one synchronous step, so two requests never see each other half done.
"""

from hub.sdk.sandbox.dials import Dials, NextFault
from hub.sdk.sandbox.frame import SECOND, Clock, ConnectionCutError, Sandbox, SandboxClock, html_page
from hub.sdk.sandbox.ledger import Effect, EffectLedger, Json
from hub.sdk.sandbox.serve import running, serve_forever

__all__ = [
    "SECOND",
    "Clock",
    "ConnectionCutError",
    "Dials",
    "Effect",
    "EffectLedger",
    "Json",
    "NextFault",
    "Sandbox",
    "SandboxClock",
    "html_page",
    "running",
    "serve_forever",
]
