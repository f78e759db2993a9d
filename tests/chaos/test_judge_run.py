"""The judges of the run itself: a crash point nobody died at, a slow ending, a secret that got out, damage unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.judge_run import forms, judge_run, judge_secrets

SECRET = 's3cret-of-a-site/with+signs=and"quotes'
RUN: dict[str, Any] = {
    "crash_points": {"wanted": ["claimed", "settled"], "reached": ["claimed", "settled"]},
    "downs": {"kill -9": 20, "stop": 1},
    "wanted_downs": {"kill -9": 20, "stop": 1},
    "seconds": {"drained": [4.0, 60.0]},
    "ended_with": {"all0": 0},
    "unrest": [],
    "resident": [120, 121, 119, 120, 122, 121, 125, 124],
}


def wrong(**changes: Any) -> list[str]:
    return [line["invariant"] for line in judge_run({**RUN, **changes}) if line["violations"]]


@pytest.mark.parametrize(
    ("planted", "invariant"),
    [
        ({"crash_points": {"wanted": ["claimed"], "reached": []}}, "every crash point was died at"),
        ({"downs": {"kill -9": 19, "stop": 1}}, "what had to be done to the hub was done"),
        ({"downs": {"kill -9": 20}}, "what had to be done to the hub was done"),
        ({"seconds": {"drained": [60.1, 60.0]}}, "in time"),
        ({"unrest": ["k3.payment.out ready: 1"]}, "everything comes to rest once faults stop"),
        ({"ended_with": {"all0": -9}}, "processes ended well when asked"),
        ({"resident": [100, 101, 100, 100, 112, 111, 112, 112]}, "memory flat in the last half"),
    ],
    ids=["point", "few kills", "no stop", "slow", "restless", "killed at the end", "grown"],
)
def test_what_is_planted_is_found(planted: dict[str, Any], invariant: str) -> None:
    assert wrong() == []
    assert wrong(**planted) == [invariant]


@pytest.mark.parametrize("form", sorted(forms(SECRET)))
def test_a_secret_is_found_in_every_spelling(tmp_path: Path, form: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "hub.log").write_text("nothing")
    file = tmp_path / "data" / "hub.db"
    file.write_bytes(b"\0" * ((1 << 20) - 5))
    assert judge_secrets(tmp_path, {"k3": SECRET})["violations"] == []
    with file.open("ab") as out:  # across the pieces in which it is read
        out.write(forms(SECRET)[form] + b"...")
    assert f"data/hub.db: k3, {form}" in judge_secrets(tmp_path, {"k3": SECRET})["violations"]


def test_who_knows_the_secrets_may_name_them(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(SECRET)
    (tmp_path / "kingdee.jsonl").write_text(SECRET)
    assert judge_secrets(tmp_path, {"k3": SECRET})["violations"] == []


def test_a_run_in_which_nothing_happened_proves_nothing(tmp_path: Path) -> None:
    """Everything is there and empty: every invariant but two says that it had nothing to look at."""
    run = {
        **RUN,
        "seed": 1,
        "audit": {"verifier": "-", "trail": "x.jsonl", "public_key": "-", "heads": "-"},
        "secrets": {},
    }
    nothing: dict[str, list[Any]] = {"contacts": [], "follows": [], "customers": []}
    for name, value in (("run", run), ("letters", []), ("before", nothing), ("after", nothing)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    for name in ("intents.jsonl", "kingdee.jsonl", "wecom.jsonl", "wecom.deliveries", "people.jsonl"):
        (tmp_path / name).touch()
    empty = [line for line in check(tmp_path) if line["violations"] == ["nothing was looked at"]]
    assert "nothing lost: what was accepted is booked or a dead letter" in {
        line["invariant"] for line in empty
    }
    assert len(empty) >= 14
