"""``hub`` on the command line, and ``python -m hub``."""

from __future__ import annotations

import os
import sys

from hub.cli.app import build
from hub.cli.texts import language


def main() -> None:
    """Run the command line in the language of ``--lang`` or of the environment."""
    build(language(sys.argv[1:], os.environ))()


if __name__ == "__main__":
    main()
