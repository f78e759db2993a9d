"""Verify the audit trail of a store or an export: one file, Python's standard library, nothing of the hub.

    python verify.py STORE.db|EXPORT.jsonl --public-key audit.pub [--heads seals.log]

Acts are numbered without a gap; each hash covers the hash before it and the whole act. A seal closes a run of acts: a
note (C2SP signed note, checkpoint form) over number and hash of the last of them, signed with Ed25519. The first act
behind a seal continues from the SHA-256 of that note with its signature, so that one valid signature vouches for
every byte before it. Heads that were kept elsewhere show a store whose end was cut off or rewritten.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import json
import sqlite3
import struct
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

__all__ = [
    "FIRST_PREV",
    "ORIGIN",
    "STAMPED",
    "Damage",
    "Report",
    "Unreadable",
    "act_hash",
    "check_signature",
    "main",
    "note_body",
    "note_digest",
    "signed_note",
    "verify",
]

ORIGIN = "integration-hub/acts"
"""First line of each note, and the name of the key."""
FIRST_PREV = bytes(32)
"""What the first act of all continues from."""
STAMPED = ("records", "xrefs", "owed", "connections", "jobs", "revisions", "touched")
"""Tables whose rows carry the number of an act."""
SIGNATURES = 2000
"""Newest seals whose signatures are checked one by one; older ones are covered by the hashes of the newer."""

_HEAD = struct.Struct(">qqqII")  # number, id, time, length of actor, length of verb; the body is the rest
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_MALFORMED = (AttributeError, TypeError, ValueError, struct.error)

Act = Sequence[Any]  # seq, id, at, actor, verb, body, hash
Seal = Sequence[Any]  # last_seq, first_seq, head, prev, at, key_id, signature


@dataclass(frozen=True, slots=True)
class Damage:
    """The first damaged place. ``seq``: the act's number, ``act``: its id, as far as they are known.

    ``kind``: changed, missing, inserted, unsealed, seal, signature, cut, stray, heads or file.
    """

    kind: str
    seq: int | None
    act: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified: numbers ``first`` to ``last``; ``unsealed`` acts have no number yet."""

    ok: bool
    first: int
    last: int
    seals: int
    unsealed: int
    damage: Damage | None = None


class Unreadable(Exception):
    """The file to verify, the public key or the heads cannot be read."""


class _Damaged(Exception):
    def __init__(self, kind: str, seq: int | None, act: int | None, text: str) -> None:
        super().__init__(text)
        self.damage = Damage(kind, seq, act, text)


class _Source(Protocol):
    """Seals and acts in order of their numbers, read in step: a seal, then the acts it covers."""

    first: int
    whole: bool

    def seals(self) -> Iterator[Seal]: ...
    def acts(self) -> Iterator[Act]: ...
    def unsealed(self) -> int: ...
    def strays(self) -> Iterator[tuple[str, str, int]]: ...


# ------------------------------------------------------------------------------------- hashes and notes


def act_hash(before: bytes, act: Act) -> bytes:
    """Return SHA-256 over the hash before and the act (number, id, time, actor, verb, body)."""
    seq, ident, at, actor, verb, body = act[:6]
    who, what = actor.encode(), verb.encode()
    head = _HEAD.pack(seq, ident, at, len(who), len(what))
    return hashlib.sha256(before + head + who + what + body.encode()).digest()


def note_body(seal: Seal) -> bytes:
    """Return what a seal signs: origin, number and hash of the last act, then extension lines."""
    last, first, head, prev, at = seal[:5]
    if not all(type(number) is int for number in (last, first, at)):
        raise TypeError("a number of the seal is none")
    shown = base64.b64encode(head).decode(), base64.b64encode(prev).decode()
    return f"{ORIGIN}\n{last}\n{shown[0]}\nfirst {first}\nprev {shown[1]}\nat {at}\n".encode()


def signed_note(seal: Seal) -> str:
    """Return the whole note: body, empty line, signature line."""
    signature = base64.b64encode(bytes.fromhex(seal[5]) + seal[6]).decode()
    return f"{note_body(seal).decode()}\n\N{EM DASH} {ORIGIN} {signature}\n"


def note_digest(seal: Seal) -> bytes:
    """Return what the first act behind this seal continues from."""
    return hashlib.sha256(signed_note(seal).encode()).digest()


# ----------------------------------------------------------------- Ed25519 (RFC 8032, 5.1), verifying only

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_I = pow(2, (_P - 1) // 4, _P)

Point = tuple[int, int, int, int]  # extended coordinates X, Y, Z, T


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(p: Point) -> Point:
    a, b = p[0] * p[0] % _P, p[1] * p[1] % _P
    h = a + b
    e, g = h - (p[0] + p[1]) ** 2, a - b
    f = 2 * p[2] * p[2] + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _point(data: bytes) -> Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _I % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))


def check_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether an Ed25519 signature is valid."""
    if len(key) != 32 or len(signature) != 64:
        return False
    owner, r = _point(key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if owner is None or r is None or _BASE is None or s >= _L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _L
    minus: Point = (_P - owner[0], owner[1], 1, _P - owner[3])
    table = {(1, 0): _BASE, (0, 1): minus, (1, 1): _add(_BASE, minus)}
    found: Point = (0, 1, 1, 0)
    for bit in range(max(s.bit_length(), k.bit_length()) - 1, -1, -1):  # s*B - k*A in one walk
        found = _double(found)
        which = (s >> bit & 1, k >> bit & 1)
        if which != (0, 0):
            found = _add(found, table[which])
    return not ((found[0] - r[0] * found[2]) % _P or (found[1] - r[1] * found[2]) % _P)


def _read_keys(path: Path) -> dict[str, bytes]:
    """Read ``name+hash+base64`` lines (C2SP vkey); several, if the key was ever changed."""
    keys = {}
    try:
        for line in path.read_text("ascii").split():
            name, ident, data = line.split("+", 2)
            raw = base64.b64decode(data, validate=True)
            whole = len(raw) == 33 and raw[0] == 1
            if not whole or hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != ident:
                raise ValueError(line)
            keys[ident] = raw[1:]
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: no public key: {error}") from error
    if not keys:
        raise Unreadable(f"{path}: no public key")
    return keys


# --------------------------------------------------------------------------------------------- the walk


class _Walk:
    """One pass over seals and acts, in step."""

    def __init__(self, source: _Source, keys: dict[str, bytes], heads: dict[int, str], newest: int | None) -> None:
        self.source, self.keys, self.heads = source, keys, heads
        self.last, self.count = source.first - 1, 0
        self.before: Seal | None = None
        self.recent: deque[Seal] = deque(maxlen=newest)

    def run(self) -> None:
        acts = self.source.acts()
        for seal in self.source.seals():
            self._seal(seal, acts)
        for act in acts:
            raise _Damaged("unsealed", act[0], act[1], "numbered, but no seal covers it")
        for seal in self.recent:
            if not self._signed(seal):
                raise _Damaged("signature", seal[1], None, f"the seal over acts {seal[1]} to {seal[0]} is not signed")
        self._leftover_heads()

    def _seal(self, seal: Seal, acts: Iterator[Act]) -> None:
        expected = self.last + 1
        try:
            note = signed_note(seal)
            last, first, head, prev = seal[:4]
            tied = self.before is None or prev == note_digest(self.before)
        except _MALFORMED:
            raise _Damaged("seal", expected, None, "the seal is malformed") from None
        if first != expected or last < first:
            raise _Damaged("seal", expected, None, f"the next seal covers acts {first} to {last}")
        if not tied or (self.before is None and first == 1 and prev != FIRST_PREV):
            raise self._loose(seal)
        found = self._acts(itertools.islice(acts, last - first + 1), prev)
        if self.last != last:
            raise _Damaged("missing", self.last + 1, None, "the act is missing")
        if found != head:
            raise _Damaged("seal", first, None, f"acts {first} to {last} do not match their seal")
        if self.heads.pop(last, note) != note:
            raise _Damaged("cut", first, None, "another seal over these acts had left the machine")
        self.before, self.count = seal, self.count + 1
        self.recent.append(seal)

    def _acts(self, rows: Iterable[Act], found: bytes) -> bytes:
        expected = self.last
        pack, sha256 = _HEAD.pack, hashlib.sha256
        row: Act = ()
        try:
            for row in rows:
                expected += 1
                seq, ident, at, actor, verb, body, stored = row
                who, what = actor.encode(), verb.encode()
                head = pack(seq, ident, at, len(who), len(what))
                found = sha256(b"".join((found, head, who, what, body.encode()))).digest()
                if seq != expected or found != stored:
                    break
            else:
                self.last = expected
                return found
        except _MALFORMED:
            pass
        except sqlite3.Error as error:
            raise _Damaged("file", expected + 1, None, f"the file is damaged: {error}") from error
        raise _act_damage(row, expected)

    def _loose(self, seal: Seal) -> _Damaged:
        """The seal does not continue from the one before: one of the two was altered; signatures tell which."""
        before = self.before
        if before is not None and not self._signed(before):
            return _Damaged("seal", before[1], None, f"the seal over acts {before[1]} to {before[0]} was changed")
        return _Damaged("seal", seal[1], None, f"the seal over acts {seal[1]} to {seal[0]} does not continue the trail")

    def _signed(self, seal: Seal) -> bool:
        key = self.keys.get(seal[5])
        return key is not None and check_signature(key, note_body(seal), seal[6])

    def _leftover_heads(self) -> None:
        for last, note in sorted(self.heads.items()):
            if last < self.source.first or (last > self.last and not self.source.whole):
                continue
            if not _signed_head(last, note, self.keys):
                raise _Damaged("heads", last, None, "a line of the heads file was changed")
            where = min(last, self.last + 1)
            raise _Damaged("cut", where, None, f"the seal over act {last} left the machine, but is not in here")


def _act_damage(row: Act, expected: int) -> _Damaged:
    seq, ident = (row[0], row[1]) if len(row) > 1 else (None, None)
    ident = ident if type(ident) is int else None
    if type(seq) is int and seq > expected:
        return _Damaged("missing", expected, None, f"the act is missing; number {seq} follows")
    if type(seq) is int and seq < expected:
        return _Damaged("inserted", seq, ident, f"the number is there twice; {expected} should follow")
    return _Damaged("changed", expected, ident, "the act was changed, or another put in its place")


def _signed_head(last: int, note: str, keys: dict[str, bytes]) -> bool:
    try:
        body, signature = note.split("\n\n")
        raw = base64.b64decode(signature.split(" ")[2], validate=True)
        key = keys.get(raw[:4].hex())
        is_its = body.split("\n")[:2] == [ORIGIN, str(last)]
        return is_its and key is not None and check_signature(key, f"{body}\n".encode(), raw[4:])
    except (ValueError, IndexError):
        return False


# ---------------------------------------------------------------------------------------------- sources

_ACTS = (
    "SELECT seq, id, at, actor, verb, body, hash FROM acts NOT INDEXED WHERE seq IS NOT NULL ORDER BY seq"
)  # the rows themselves: an index could say something else
_SEALS = "SELECT last_seq, first_seq, head, prev, at, key_id, signature FROM seals NOT INDEXED ORDER BY last_seq"


class _Store:
    """A SQLite file, on one snapshot; the hub may run meanwhile."""

    first, whole = 1, True

    def __init__(self, path: Path) -> None:
        self._conn = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None)
        self._conn.execute("BEGIN")

    def seals(self) -> Iterator[Seal]:
        return iter(self._conn.execute(_SEALS))

    def acts(self) -> Iterator[Act]:
        return iter(self._conn.execute(_ACTS))

    def unsealed(self) -> int:
        text = "SELECT count(*), count(hash) FROM acts NOT INDEXED WHERE seq IS NULL"
        count, hashed = self._conn.execute(text).fetchone()
        if hashed:
            raise _Damaged("missing", None, None, "an act has a hash but no number")
        return int(count)

    def strays(self) -> Iterator[tuple[str, str, int]]:
        for table in STAMPED:
            text = f"SELECT * FROM {table} WHERE NOT EXISTS (SELECT 1 FROM acts WHERE acts.id = {table}.act)"  # noqa: S608 - names are ours
            found = self._conn.execute(text)
            names = [column[0] for column in found.description]
            for row in found:
                yield table, row[0].hex() if isinstance(row[0], bytes) else str(row[0]), row[names.index("act")]

    def close(self) -> None:
        self._conn.close()
