"""``python -m tests.repair``: a bad mapping over thousands of records, taken back; one JSON line, exit 1 if anything differs."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.repair.play import play


def main() -> int:
    """Play it as large as is wished."""
    parser = argparse.ArgumentParser(prog="python -m tests.repair")
    parser.add_argument("--records", type=int, default=5_000)
    parser.add_argument("--edited", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-repair-") as folder:
        told = play(Path(folder), records=wanted.records, edited=wanted.edited, seed=wanted.seed)
    wrong = told["differences"]
    print(json.dumps(told | {"differences": len(wrong), "first": wrong[:5]}, ensure_ascii=False))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
