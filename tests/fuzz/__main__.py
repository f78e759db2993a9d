"""``python -m tests.fuzz``: the mapping language against expressions and sources at random; one JSON line, 1 if a rule broke."""

from __future__ import annotations

import argparse
import json
import sys
import time

from tests.fuzz.play import play


def main() -> int:
    """Play as many as is wished."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    wanted = parser.parse_args()
    told = play(wanted.examples, wanted.seed)
    print(json.dumps(told, ensure_ascii=False))
    return 1 if told["escapes"] or told["hangs"] or told["crashes"] else 0


if __name__ == "__main__":
    sys.exit(main())
