"""A vendor as its own process: never killed, its ledger is the judge's evidence."""

from __future__ import annotations

import argparse
import json
from collections import deque
from pathlib import Path
from typing import Any

from connectors.kingdee.sandbox import KingdeeDials, KingdeeSandbox
from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.acts import PutMember
from connectors.wecom.sandbox.dials import WeComDials
from hub.sdk.sandbox import Sandbox, serve_forever
from tests.chaos.children import come_first
from tests.chaos.project import EMPLOYEES

__all__: list[str] = []

WRITES = ["externalcontact/remark", "externalcontact/mark_tag", "externalcontact/add_corp_tag"]


class _Kept(deque[Any]):
    """The log of deliveries that forgets nothing: each is a line of a file too."""

    def __init__(self, file: Path) -> None:
        super().__init__(maxlen=100)
        self._out = file.open("a")

    def append(self, entry: Any) -> None:
        super().append(entry)
        self._out.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._out.flush()


def _kingdee(wanted: argparse.Namespace) -> Sandbox:
    """Faults on every save, of customers and of receipts."""
    dials = KingdeeDials(
        seed=wanted.seed,
        apply_then_drop=wanted.drop,
        apply_late=wanted.late,
        late_by=wanted.late_by,
        latency_ms=wanted.latency,
        only=["Save"],
    )
    return KingdeeSandbox(state=wanted.state, dials=dials)


def _wecom(wanted: argparse.Namespace) -> Sandbox:
    """Faults on every write; callbacks come twice, late, and again until their retries are used up."""
    dials = WeComDials(
        seed=wanted.seed,
        apply_then_drop=wanted.drop,
        http_502=wanted.broken,
        latency_ms=wanted.latency,
        only=WRITES,
        callback_duplicate=0.1,
        callback_reorder=0.1,
        callback_retry_seconds=wanted.retry_seconds,
        callback_parallel=wanted.parallel,
    )
    sandbox = WeComSandbox(state=wanted.state, dials=dials)
    sandbox.callbacks.log = _Kept(wanted.state.with_suffix(".deliveries"))
    for number in range(EMPLOYEES):
        sandbox.act(PutMember(userid=f"Sales{number:02}", name=f"销售{number}", department=[5], silent=True))
    return sandbox


def main() -> None:
    """Serve one sandbox with faults."""
    come_first()
    parser = argparse.ArgumentParser()
    parser.add_argument("--vendor", choices=("kingdee", "wecom"), required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--drop", type=float, default=0.3)
    parser.add_argument("--late", type=float, default=0.3)
    parser.add_argument("--late-by", type=float, default=1.5)
    parser.add_argument("--broken", type=float, default=0.1)
    parser.add_argument("--latency", type=float, default=0.0, help="ms")
    parser.add_argument("--retry-seconds", type=float, default=1.0)
    parser.add_argument("--parallel", type=int, default=8, help="callbacks under way at once")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    serve_forever((_kingdee if wanted.vendor == "kingdee" else _wecom)(wanted))


if __name__ == "__main__":
    main()
