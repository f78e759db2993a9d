"""The vendor as its own process: never killed, its ledger is the judge's evidence."""

from __future__ import annotations

import argparse
from pathlib import Path

from connectors.kingdee.sandbox import KingdeeDials, KingdeeSandbox
from hub.sdk.sandbox import serve_forever


def main() -> None:
    """Serve the Kingdee sandbox with faults on every write of a receipt."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--drop", type=float, default=0.3)
    parser.add_argument("--late", type=float, default=0.3)
    parser.add_argument("--late-by", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    dials = KingdeeDials(
        seed=wanted.seed,
        apply_then_drop=wanted.drop,
        apply_late=wanted.late,
        late_by=wanted.late_by,
        only=["Save"],
        form="AR_RECEIVEBILL",
    )
    serve_forever(KingdeeSandbox(state=wanted.state, dials=dials))


if __name__ == "__main__":
    main()
