"""The report of `hub check --deep`: what the probes saw, without anything that tells whose site it was.

A connector promises codes and counts only (`hub.sdk.Probe`); what it says is masked here nevertheless, for the report
is meant to be handed on.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from hub.cli.screen import instant
from hub.clock import SECOND
from hub.sdk.connector import Connector, Probe
from hub.sdk.secret import MASK, Redactor, Secret

__all__ = ["DISTRIBUTION", "OUTCOMES", "default_name", "probe_report", "save_report"]

DISTRIBUTION: Final = "integration-hub"
OUTCOMES: Final = ("confirmed", "contradicted", "unclear", "skipped")
LONGEST: Final = 400
SHORTEST: Final = 4
"""Letters of a setting that is masked: "100" or "hub" would mask counts and words."""
TOP: Final = "com|cn|net|org|io|local|lan|internal|corp"

# Bounds are spelled out in ASCII: a Chinese sign beside a value is a letter to \b.
_FOREIGN: Final = re.compile(
    r"\w+://\S+"  # an address
    r"|\S+@\S+"  # an account
    rf"|(?<![A-Za-z0-9.-])(?:[A-Za-z0-9-]+\.)+(?:{TOP})(?![A-Za-z0-9-])"  # a host
    r"|(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])"
    r"|\d{8,}"  # a telephone, an account, an id; counts stay below
    r"|(?:%[0-9A-Fa-f]{2}){3,}"
    # a key, a token, a digest: long, with digits and letters
    r"|(?<![A-Za-z0-9+/_-])(?=[A-Za-z+/_-]*[0-9])(?=[0-9+/_-]*[A-Za-z])[A-Za-z0-9+/_-]{20,}=*"
)


def probe_report(connector: Connector, probes: Sequence[Probe], now: int) -> dict[str, Any]:
    """Return the report of a connector's probes at ``now`` (µs); raises ValueError for an unknown outcome."""
    hide = Redactor(_known(connector))

    def told(text: str) -> str:
        shown = _FOREIGN.sub(MASK, hide(text))
        return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"

    if strange := {probe.outcome for probe in probes} - set(OUTCOMES):
        raise ValueError(f"an outcome is one of {', '.join(OUTCOMES)}, not {', '.join(sorted(strange))}")
    return {
        "connector": connector.spec.name,
        "hub": version(DISTRIBUTION),
        "date": instant(now),
        "probes": [
            {"point": told(one.point), "outcome": one.outcome, "seen": told(one.seen), "zh": told(one.zh),
             "en": told(one.en)}
            for one in probes
        ],
    }  # fmt: skip


def default_name(report: Mapping[str, Any], now: int) -> str:
    """Return the file's name in the data folder: connector and time, not the name the site has here."""
    at = datetime.fromtimestamp(now / SECOND, UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    return f"probes-{report['connector']}-{at}Z.json"


def save_report(path: Path, text: str) -> None:
    """Put a text in place of ``path`` at once, readable by its owner alone. Raises OSError."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _known(connector: Connector) -> Iterator[Secret]:
    """Yield everything the connection's settings hold that is not a default, in the forms a text may carry it."""
    defaults = {one.name: one.default for one in connector.spec.settings}
    for name, value in connector.settings.items():
        if isinstance(value, Secret):
            yield from _forms(value.reveal())
        elif isinstance(value, str) and len(value) >= SHORTEST and value != defaults.get(name):
            yield from _forms(value)
            if host := urlsplit(value).hostname if "://" in value else None:
                yield from _forms(host)


def _forms(value: str) -> Iterator[Secret]:
    """Yield a value as it is, in hex, and in base64 wherever it stands in what was encoded (three alignments)."""
    if not value:
        return
    raw = value.encode("utf-8", "surrogatepass")
    yield Secret(value)
    yield Secret(raw.hex())
    yield Secret(raw.hex().upper())
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        first = -(-before * 8 // 6)  # letters that hold bits of what stands before
        last = (before + len(raw)) * 8 // 6  # the letter behind it holds bits of what follows
        if (kept := whole[first:last]) and len(kept) >= SHORTEST:
            yield Secret(kept)
            yield Secret(kept.replace("+", "-").replace("/", "_"))
