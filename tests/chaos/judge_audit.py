"""Who has the audit trail verified, and damages copies of it to see whether that is noticed.

The verifier is a program of one file and the standard library alone; it is run, not imported.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.chaos.judge import told

__all__ = ["DAMAGES", "judge_audit"]

Damage = Callable[[sqlite3.Connection, random.Random], object]


def judge_audit(folder: Path, audit: Mapping[str, str]) -> list[dict[str, Any]]:
    """``audit``: verifier, trail (store or export), public_key, heads: paths; seed."""
    said = _verify(audit, Path(audit["trail"]))
    lines = [told("acts and seals verify", 1, [said] if said else [])]
    if Path(audit["trail"]).suffix == ".db":
        missed = list(_unnoticed(audit))
        lines.append(told("damage to the trail is found", len(DAMAGES), missed))
    return lines


def _verify(audit: Mapping[str, str], trail: Path) -> str:
    """Return what the verifier finds wrong, "" for nothing."""
    command = [
        sys.executable,
        audit["verifier"],
        str(trail),
        "--public-key",
        audit["public_key"],
        "--heads",
        audit["heads"],
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr)[-300:] if done.returncode else ""


def _unnoticed(audit: Mapping[str, str]) -> list[str]:
    draw = random.Random(f"damage of {audit['seed']}")
    with tempfile.TemporaryDirectory(prefix="hub-chaos-damage-") as spare:
        whole = Path(spare) / "whole.db"
        with (
            closing(sqlite3.connect(f"file:{audit['trail']}?mode=ro", uri=True)) as store,
            closing(sqlite3.connect(whole)) as copy,
        ):
            store.backup(copy)
            for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                copy.execute(f'DROP TRIGGER "{name}"')
            copy.commit()
        if _verify(audit, whole):
            return ["the copy alone is found damaged"]
        missed = []
        for name, damage in DAMAGES.items():
            damaged = Path(spare) / "damaged.db"
            shutil.copy(whole, damaged)
            with closing(sqlite3.connect(damaged)) as store:
                damage(store, draw)
                store.commit()
            if not _verify(audit, damaged):
                missed.append(name)
        return missed


def _some(store: sqlite3.Connection, draw: random.Random, count: int = 1) -> list[int]:
    """Return the ids of sealed acts."""
    (last,) = store.execute("SELECT max(last_seq) FROM seals").fetchone()
    wanted = draw.sample(range(2, last), count)
    marks = ",".join("?" * count)
    return [id_ for (id_,) in store.execute(f"SELECT id FROM acts WHERE seq IN ({marks})", wanted)]


def _flip(column: str) -> Damage:
    def flip(store: sqlite3.Connection, draw: random.Random) -> None:
        (act,) = _some(store, draw)
        (value,) = store.execute(f"SELECT CAST({column} AS BLOB) FROM acts WHERE id = ?", (act,)).fetchone()
        at = draw.randrange(len(value))
        changed = bytes([*value[:at], value[at] ^ 1, *value[at + 1 :]])
        kind = "BLOB" if column == "hash" else "TEXT"
        store.execute(f"UPDATE acts SET {column} = CAST(? AS {kind}) WHERE id = ?", (changed, act))

    return flip


def _swap(store: sqlite3.Connection, draw: random.Random) -> None:
    one, other = _some(store, draw, 2)
    bodies = {
        act: store.execute("SELECT body FROM acts WHERE id = ?", (act,)).fetchone()[0] for act in (one, other)
    }
    if bodies[one] == bodies[other]:
        bodies[one] = "{}"
    store.execute("UPDATE acts SET body = ? WHERE id = ?", (bodies[other], one))
    store.execute("UPDATE acts SET body = ? WHERE id = ?", (bodies[one], other))


def _delete(store: sqlite3.Connection, draw: random.Random) -> None:
    store.execute("DELETE FROM acts WHERE id = ?", _some(store, draw))


def _cut(store: sqlite3.Connection, draw: random.Random) -> None:
    """Cut the end off, seals and all: only the heads kept outside tell."""
    (last,) = store.execute("SELECT max(last_seq) FROM seals").fetchone()
    (kept,) = store.execute(
        "SELECT max(last_seq) FROM seals WHERE last_seq < ?", (last * 9 // 10,)
    ).fetchone()
    store.execute("DELETE FROM acts WHERE seq > ? OR seq IS NULL", (kept,))
    store.execute("DELETE FROM seals WHERE last_seq > ?", (kept,))


DAMAGES: Mapping[str, Damage] = {
    "a bit of a body flipped": _flip("body"),
    "a bit of a hash flipped": _flip("hash"),
    "a bit of an actor flipped": _flip("actor"),
    "two bodies swapped": _swap,
    "an act deleted": _delete,
    "the end cut off": _cut,
}
