"""The store's epoch, whether writes to vendors are open, and what a head kept outside says of a store.

A store that was restored, copied or put back does not know what was sent after its last act; sent again, it would
double. So the newest seal is also kept outside the store (a head), and a store that does not agree with the head
gets a new epoch and stopped writes, until a person looked (``pipe.md`` 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from hub.errors import Bilingual
from hub.store import schema, sql
from hub.store.tx import Tx

__all__ = ["WRITES", "Head", "Stop", "head_of", "judge", "open_writes", "stop_of", "stop_writes"]

WRITES = "writes"
"""The job that remembers why writes are stopped, and how far it is with opening them again."""

_newest = sql.query("SELECT last_seq, head, at FROM seals ORDER BY last_seq DESC LIMIT 1")
_oldest = sql.query("SELECT first_seq FROM seals ORDER BY last_seq LIMIT 1")
_seal = sql.query("SELECT head FROM seals WHERE last_seq = ?")
_stop = sql.command("UPDATE hub SET epoch = ?, writes = 'stopped' WHERE one = 1")
_open = sql.command("UPDATE hub SET writes = 'open' WHERE one = 1 AND writes = 'stopped'")
_write_job = sql.bulk_upsert(
    schema.jobs, "name kind spec position due holder lease fence progress state act", key="name"
)


class Stop(Bilingual):
    """Why the writes of a store are stopped, with a sentence each."""

    RESTORED = "restored", "数据库由备份恢复", "the store was restored from a backup"
    OLDER = (
        "older",
        "数据库比库外封签记录旧：恢复或复制而来",
        "the store is older than the seal head kept outside: it was put back or copied",
    )
    OTHER = (
        "other",
        "库外封签记录属于另一个数据库",
        "the seal head kept outside is of another store or another copy",
    )
    UNKNOWN = (
        "unknown",
        "库外没有封签记录：数据库被移动、复制，或记录丢失",
        "no seal head is kept outside: the store was moved or copied, or the head was lost",
    )


@dataclass(frozen=True, slots=True)
class Head:
    """The newest seal, as it is kept outside: ``seq`` 0 before the first one; ``at`` µs."""

    epoch: bytes
    seq: int
    digest: bytes
    at: int

    def dump(self) -> bytes:
        """Return it as JSON."""
        told = {"epoch": self.epoch.hex(), "seq": self.seq, "head": self.digest.hex(), "at": self.at}
        return orjson.dumps(told)

    @classmethod
    def parse(cls, text: bytes) -> Head:
        """Read what :meth:`dump` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            told = orjson.loads(text)
            return cls(
                bytes.fromhex(told["epoch"]), int(told["seq"]), bytes.fromhex(told["head"]), int(told["at"])
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a seal head: {error}") from error


def head_of(tx: Tx) -> Head:
    """Return the head of this store as it is now."""
    for seq, digest, at in _newest(tx):
        return Head(tx.epoch, seq, bytes(digest), at)
    return Head(tx.epoch, 0, b"", tx.now)


def judge(tx: Tx, outside: Head | None) -> Stop | None:
    """Compare the store with the head kept outside; None: it is the store that worked here last, or a first start.

    Read the head before the store: a store that works meanwhile is newer than the head, never older.
    """
    own = head_of(tx)
    if outside is None:
        return None if own.seq == 0 else Stop.UNKNOWN
    if outside.epoch != own.epoch:
        return Stop.OTHER
    if outside.seq == 0:
        return None
    if own.seq < outside.seq:
        return Stop.OLDER
    found = _seal(tx, outside.seq)
    if found:
        return None if bytes(found[0][0]) == outside.digest else Stop.OTHER
    return (
        None if _oldest(tx)[0][0] > outside.seq else Stop.OTHER
    )  # exported and dropped, or never sealed here


def stop_writes(
    tx: Tx, why: Stop, *, by: str, known: Mapping[str, Any] | None = None, again: bool = False
) -> None:
    """Stop writes to vendors and draw a new epoch: every process that opened the store before stops too.

    ``known``: what else a person should know. A store that is stopped already stays as it is, unless ``again``.
    """
    if not tx.writes_open and not again:
        return
    _stop(tx, tx.clock.token(16))
    spec = orjson.dumps({"why": why.value, "at": tx.now, **(known or {})}).decode()
    _write_job(tx, [(WRITES, WRITES, spec, "null", 0, None, 0, 0, "null", "stopped", tx.act)])
    tx.journal(by, "writes.stopped", {"items": [{"outcome": "stopped", "why": why.value, **(known or {})}]})


def open_writes(tx: Tx) -> bool:
    """Open writes to vendors; False if they are open. The caller has settled what may have been sent meanwhile."""
    return _open(tx) == 1


def stop_of(spec: str) -> Stop | None:
    """Return why the job of this spec says that writes are stopped."""
    told = orjson.loads(spec)
    return _BY_VALUE.get(told.get("why", "")) if isinstance(told, dict) else None


_BY_VALUE = {one.value: one for one in Stop}
