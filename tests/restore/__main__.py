"""``python -m tests.restore --receipts 500``: prints one JSON line; exit code 0 only if nothing was doubled or lost."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.restore.play import play, site


def main() -> int:
    """Play in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--receipts", type=int, default=500)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-restore-") as folder, site(Path(folder)) as at:
        report = play(at, wanted.receipts)
    print(json.dumps(report))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
