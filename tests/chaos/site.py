"""A vendor as its own process: never killed, its ledger is the judge's evidence."""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from connectors.dingtalk.sandbox import DingTalkSandbox
from connectors.dingtalk.sandbox.acts import PutUser, perform
from connectors.dingtalk.sandbox.dials import DingTalkDials
from connectors.kingdee.sandbox import KingdeeDials, KingdeeSandbox
from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.acts import PutMember
from connectors.wecom.sandbox.dials import WeComDials
from connectors.yonyou.sandbox import YonyouSandbox
from connectors.yonyou.sandbox.dials import YonyouDials
from hub.sdk.sandbox import Sandbox, serve_forever
from tests.chaos.children import come_first
from tests.chaos.project import APPLICANTS, APPROVERS, EMPLOYEES

__all__: list[str] = []

WRITES = [
    "externalcontact/remark",
    "externalcontact/mark_tag",
    "externalcontact/add_corp_tag",
    "oa/applyevent",
]


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
        per_hour=0,  # a million events an hour are more than one corp may ask for
        per_ip_hour=0,
    )
    sandbox = WeComSandbox(state=wanted.state, dials=dials)
    sandbox.callbacks.log = _Kept(wanted.state.with_suffix(".deliveries"))
    for number in range(EMPLOYEES):
        sandbox.act(PutMember(userid=f"Sales{number:02}", name=f"销售{number}", department=[5], silent=True))
    for who in (*APPLICANTS, *APPROVERS.values()):
        sandbox.act(PutMember(userid=who, name=who, department=[5], main_department=5, silent=True))
    return sandbox


def _yonyou(wanted: argparse.Namespace) -> Sandbox:
    """Faults on every save, of customers and of receipts."""
    dials = YonyouDials(
        seed=wanted.seed, apply_then_drop=wanted.drop, apply_late=wanted.late, late_by=wanted.late_by,
        latency_ms=wanted.latency, only=["EFI/collection/save", "digitalModel/merchant/idempotent/newinsert"], per_minute=0,
    )  # fmt: skip
    return YonyouSandbox(state=wanted.state, dials=dials)


def _dingtalk(wanted: argparse.Namespace) -> Sandbox:
    """Faults on every start of an approval; events come twice, and again when nobody said that they came."""
    dials = DingTalkDials(
        seed=wanted.seed, apply_then_drop=wanted.drop, apply_late=wanted.late, late_by=wanted.late_by,
        latency_ms=wanted.latency, only=["workflow/processInstances"], monthly_calls=0, monthly_pushes=0, push_duplicate=0.1,
        push_reorder=0.1, stream_redeliver_seconds=3.0,
    )  # fmt: skip
    sandbox = DingTalkSandbox(state=wanted.state, dials=dials)
    for who in (*APPLICANTS, *APPROVERS.values()):
        perform(sandbox, PutUser(act="put_user", userid=who, name=who, dept_id_list=[1], silent=True))
    return sandbox


VENDORS: Mapping[str, Callable[[argparse.Namespace], Sandbox]] = {
    "kingdee": _kingdee, "wecom": _wecom, "yonyou": _yonyou, "dingtalk": _dingtalk,
}  # fmt: skip


def main() -> None:
    """Serve one sandbox with faults."""
    come_first()
    parser = argparse.ArgumentParser()
    parser.add_argument("--vendor", choices=VENDORS, required=True)
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
    serve_forever(VENDORS[wanted.vendor](wanted))


if __name__ == "__main__":
    main()
