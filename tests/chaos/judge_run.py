"""Who looks at the run itself: did what had to happen happen, in time, and did no secret get out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from tests.chaos.judge import told

__all__ = ["forms", "judge_run", "judge_secrets"]

_VENDORS = ("kingdee", "wecom", "yonyou", "dingtalk")
UNSEALED = (*(f"{name}.{kind}" for name in _VENDORS for kind in ("jsonl", "log", "deliveries")), "run.json")
"""Files of others: the sandboxes know their own secrets, and so does whoever hands them to the hub."""
PIECE = 1 << 20
FLAT = 1.1
"""By how much a process may have grown from the first to the last quarter of its looks."""


def judge_run(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``run``: crash points (wanted, reached), downs (kind -> count, wanted kinds), seconds (what -> took, allowed), resident
    (MiB of one process, look by look; none in a short run)."""
    wanted, reached = set(run["crash_points"]["wanted"]), set(run["crash_points"]["reached"])
    slow = {name: (took, most) for name, (took, most) in run["seconds"].items() if took > most}
    missing = [kind for kind, least in run["wanted_downs"].items() if run["downs"].get(kind, 0) < least]
    points = [told("every crash point was died at", len(wanted), wanted - reached)] if wanted else []
    return [
        *points,
        *_memory(run.get("resident") or []),
        told("what had to be done to the hub was done", sum(run["downs"].values()), missing, downs=run["downs"]),
        told("everything comes to rest once faults stop", 1, run["unrest"]),
        told("in time", len(run["seconds"]), (f"{name}: {took:.1f} s, {most} s allowed" for name, (took, most) in slow.items()),
             seconds={name: round(took, 1) for name, (took, _) in run["seconds"].items()}),
        told("processes ended well when asked", len(run["ended_with"]),
             (f"{name}: {code}" for name, code in run["ended_with"].items() if code)),
    ]  # fmt: skip


def _memory(resident: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Compare the first and the last quarter of what a process held in the last half of a run; few looks prove nothing."""
    quarter = len(resident) // 4
    if not quarter:
        return
    first, last = median(resident[:quarter]), median(resident[-quarter:])
    grown = [f"{first} MiB became {last}"] if last > first * FLAT else []
    yield told("memory flat in the last half", len(resident), grown, mib=[first, last])


def forms(secret: str) -> dict[str, bytes]:
    """Return the spellings in which a secret may get out."""
    raw = secret.encode()
    spelt = {
        "raw": raw, "base64": base64.b64encode(raw).rstrip(b"="), "url-safe base64": base64.urlsafe_b64encode(raw).rstrip(b"="),
        "hex": raw.hex().encode(), "percent": quote(secret, safe="").encode(), "in JSON": json.dumps(secret)[1:-1].encode(),
        "reversed": raw[::-1], "its beginning": raw[:12], "its end": raw[-12:],
    }  # fmt: skip
    return {name: form for name, form in spelt.items() if len(form) >= 12}


def judge_secrets(folder: Path, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Look for every secret in everything the hub wrote."""
    wanted = {
        f"{name}, {form}": text for name, secret in secrets.items() for form, text in forms(secret).items()
    }
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not _others(file, folder)]
    found = [f"{file.relative_to(folder)}: {name}" for file in files for name in _found(file, wanted)]
    return told("no secret in logs, store, bus, answers or audit", len(files) * len(wanted), found)


def _others(file: Path, folder: Path) -> bool:
    """Say whether it is not the hub's: its project names secrets, run.json lists them."""
    return file.name in UNSEALED or file.is_relative_to(folder / "mappings")


def _found(file: Path, wanted: Mapping[str, bytes]) -> Iterator[str]:
    left = dict(wanted)
    tail = b""
    with file.open("rb") as read:
        while piece := read.read(PIECE):
            piece = tail + piece
            for name in [name for name, text in left.items() if text in piece]:
                del left[name]
                yield name
            tail = piece[-200:]
