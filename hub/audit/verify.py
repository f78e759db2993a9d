"""Verify the audit trail of a store or an export: one file, Python's standard library, nothing of the hub.

Usage: python verify.py STORE.db|EXPORT.jsonl --public-key audit.pub [--heads seals.log]
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
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

__all__ = [
    "FIRST_PREV",
    "LINES",
    "ORIGIN",
    "STAMPED",
    "Damage",
    "Report",
    "Unreadable",
    "act_hash",
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
LINES = {
    "export": ("type", "format", "first", "last", "whole", "unsealed"),
    "seal": ("type", "last_seq", "first_seq", "head", "prev", "at", "key_id", "signature"),
    "act": ("type", "seq", "id", "at", "actor", "verb", "body", "hash"),
    "stray": ("type", "table", "row", "act"),
}
"""The lines of an export, JSON in canonical form: these keys in this order, bytes in hex."""
_HEX = ("head", "prev", "signature", "hash")
_NEWEST = 2000  # seals whose signatures are checked; the hashes of these cover what is older
_HEAD = struct.Struct(">qqqII")  # number, id, time, length of actor, length of verb; the body is the rest
_MALFORMED = (AttributeError, TypeError, ValueError, struct.error)
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Act = Sequence[Any]  # seq, id, at, actor, verb, body, hash
Seal = Sequence[Any]  # last_seq, first_seq, head, prev, at, key_id, signature


class Damage(Exception):
    """The first damaged place. ``seq``: number of the act, ``act``: its id, as far as they are known.

    ``kind``: changed, missing, inserted, unsealed, seal, signature, cut, stray, heads or file.
    """

    def __init__(self, kind: str, seq: int | None, act: int | None, text: str) -> None:
        super().__init__(text)
        self.kind, self.seq, self.act = kind, seq, act


class Unreadable(Exception):
    """The file to verify, the public key or the heads cannot be read."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified: numbers ``first`` to ``last``; ``unsealed`` acts have no number yet."""

    first: int
    last: int
    seals: int
    unsealed: int
    damage: Damage | None = None


def act_hash(before: bytes, act: Act) -> bytes:
    """Return SHA-256 over the hash before and the act (number, id, time, actor, verb, body)."""
    seq, ident, at, actor, verb, body = act[:6]
    who, what = actor.encode(), verb.encode()
    head = _HEAD.pack(seq, ident, at, len(who), len(what))
    return hashlib.sha256(before + head + who + what + body.encode()).digest()


def note_body(seal: Seal) -> bytes:
    """Return what a seal signs: origin, number and hash of the last act, then extension lines."""
    last, first, head, prev, at = seal[:5]
    if not type(last) is type(first) is type(at) is int:
        raise TypeError("a number of the seal is none")
    head, prev = base64.b64encode(head).decode(), base64.b64encode(prev).decode()
    return f"{ORIGIN}\n{last}\n{head}\nfirst {first}\nprev {prev}\nat {at}\n".encode()


def signed_note(seal: Seal) -> str:
    """Return the whole note: body, empty line, signature line."""
    signature = base64.b64encode(_unhex(seal[5]) + seal[6]).decode()
    return f"{note_body(seal).decode()}\n\N{EM DASH} {ORIGIN} {signature}\n"


def note_digest(seal: Seal) -> bytes:
    """Return what the first act behind this seal continues from."""
    return hashlib.sha256(signed_note(seal).encode()).digest()


# Ed25519 (RFC 8032, 5.1), verifying only; points in extended coordinates X, Y, Z, T
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_I = pow(2, (_P - 1) // 4, _P)
Point = tuple[int, int, int, int]


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _point(data: bytes) -> Point | None:
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P or len(data) != 32:
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


def _check_signature(key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether an Ed25519 signature is valid."""
    owner, r = _point(key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if owner is None or r is None or _BASE is None or s >= _L or len(signature) != 64:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _L
    minus: Point = (_P - owner[0], owner[1], 1, _P - owner[3])
    table = {(1, 0): _BASE, (0, 1): minus, (1, 1): _add(_BASE, minus)}
    found: Point = (0, 1, 1, 0)
    for bit in range(max(s.bit_length(), k.bit_length()) - 1, -1, -1):  # s*B - k*A in one walk
        found = _add(found, found)
        which = (s >> bit & 1, k >> bit & 1)
        if which != (0, 0):
            found = _add(found, table[which])
    return not ((found[0] - r[0] * found[2]) % _P or (found[1] - r[1] * found[2]) % _P)


def _read_keys(path: Path) -> dict[str, bytes]:
    """Read ``name+hash+base64`` lines (C2SP vkey); several, if the key was ever changed."""
    keys: dict[str, bytes] = {}
    try:
        for line in path.read_text("ascii").split():
            name, ident, data = line.split("+", 2)
            raw = base64.b64decode(data, validate=True)
            if len(raw) != 33 or hashlib.sha256(f"{name}\n".encode() + raw).hexdigest()[:8] != ident:
                raise ValueError(line)
            keys[ident] = raw[1:]
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: no public key: {error}") from error
    return keys


class _Walk:
    """One pass over seals and acts, in step; ``newest``: how many signatures are checked, None for all."""

    def __init__(self, source: _Store | _Export, keys: dict[str, bytes], newest: int | None) -> None:
        self.source, self.keys, self.heads = source, keys, dict[int, str]()
        self.last, self.count = source.first - 1, 0
        self.recent: deque[Seal] = deque(maxlen=newest)
        self.before: Seal | None = None

    def run(self) -> None:
        for seal in self.source.seals:
            self._seal(seal)
        if self.source.last not in {None, self.last}:
            raise Damage("missing", self.last + 1, None, "the export ends before its end")
        for act in self.source.acts:
            raise Damage("unsealed", act[0], act[1], "numbered, but no seal covers it")
        for seal in self.recent:
            if not self._signed(seal):
                raise Damage("signature", seal[1], None, f"{_over(seal)} is not signed by this key")
        for last in sorted(self.heads):
            if self.source.first <= last and (last <= self.last or self.source.whole):
                where = min(last, self.last + 1)
                raise Damage("cut", where, None, f"a seal over act {last} left here, but is gone")
        for table, row, act in self.source.strays():
            raise Damage("stray", None, act, f"a row of {table} ({row}) names an act that is not there")

    def _seal(self, seal: Seal) -> None:
        expected, before = self.last + 1, self.before
        try:
            last, first, head, prev = seal[:4]
            note = signed_note(seal)
        except _MALFORMED:
            raise Damage("seal", expected, None, "the seal is malformed") from None
        if first != expected or last < first:
            raise Damage("seal", expected, None, f"its seal is missing; next is {_over(seal)}")
        if before is not None and prev != note_digest(before) and not self._signed(before):
            raise Damage("seal", before[1], None, f"{_over(before)} was changed")
        if prev != (note_digest(before) if before else FIRST_PREV if first == 1 else prev):
            raise Damage("seal", first, None, f"{_over(seal)} does not continue the trail")
        found = self._acts(itertools.islice(self.source.acts, last - first + 1), prev)
        if self.last != last:
            raise Damage("missing", self.last + 1, None, "the act is missing")
        if found != head:
            raise Damage("seal", first, None, f"{_over(seal)} does not match them")
        if self.heads.pop(last, note) != note:
            raise Damage("cut", first, None, f"{_over(seal)} is not the one that left here")
        self.before, self.count = seal, self.count + 1
        self.recent.append(seal)

    def _acts(self, rows: Iterable[Act], found: bytes) -> bytes:
        row: Act = (None, None)
        try:
            for row in rows:
                found = act_hash(found, row)
                if row[0] != self.last + 1 or found != row[6]:
                    raise _act_damage(row, self.last + 1)
                self.last += 1
        except _MALFORMED:
            raise _act_damage(row, self.last + 1) from None
        return found

    def _signed(self, seal: Seal) -> bool:
        key = self.keys.get(seal[5])
        return key is not None and _check_signature(key, note_body(seal), seal[6])


def _over(seal: Seal) -> str:
    return f"the seal over acts {seal[1]} to {seal[0]}"


def _act_damage(row: Act, expected: int) -> Damage:
    seq, ident = row[0], row[1] if type(row[1]) is int else None
    if type(seq) is int and seq > expected:
        return Damage("missing", expected, None, f"the act is missing; number {seq} follows")
    if type(seq) is int and seq < expected:
        return Damage("inserted", seq, ident, f"out of its place: {expected} should follow")
    return Damage("changed", expected, ident, "the act was changed, or another put in its place")


class _Store:
    """A SQLite file, on one snapshot; the hub may run meanwhile. Rows are read without their indexes."""

    first, last, whole = 1, None, True

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        conn.text_factory = lambda raw: raw.decode(errors="surrogateescape")  # then it is "changed"
        conn.execute("BEGIN")
        self.seals = self._rows("seal", "ORDER BY last_seq")
        self.acts = self._rows("act", "WHERE seq IS NOT NULL ORDER BY seq")
        found = conn.execute("SELECT count(*) FROM acts NOT INDEXED WHERE seq IS NULL")
        self.unsealed = int(found.fetchone()[0])

    def _rows(self, kind: str, where: str) -> Iterator[Sequence[Any]]:
        return self._conn.execute(f"SELECT {', '.join(LINES[kind][1:])} FROM {kind}s NOT INDEXED {where}")

    def strays(self) -> Iterator[Sequence[Any]]:
        known = "(SELECT +id FROM acts NOT INDEXED)"  # gathered once: looking for each row's act reads all acts a row
        for table in STAMPED:
            stray = f"(act IS NULL OR act NOT IN {known}) AND ('{table}', act) IS NOT ('jobs', 0)"  # a hint
            for act, key, *_ in self._conn.execute(f"SELECT act, * FROM {table} WHERE {stray}"):
                yield table, key.hex() if isinstance(key, bytes) else str(key), act


class _Export:
    """An export: a header line, then each seal followed by its acts, then rows stamped with unknown acts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, 0
        self._line: Sequence[Any] = ()
        header: Sequence[Any] = next(self._lines("export"), (0, 0, 0, False, 0))
        if header[0] != 1:
            raise Unreadable("neither a store nor an export of this format")
        self.first, self.last, self.whole, self.unsealed = map(int, header[1:])
        self.seals, self.acts = self._lines("seal"), self._lines("act")

    def strays(self) -> Iterator[Sequence[Any]]:
        yield from self._lines("stray")
        if self._line:
            raise Damage("file", None, None, f"line {self._at} is out of place")

    def _lines(self, kind: str) -> Iterator[Sequence[Any]]:
        """Give lines as long as they are of this kind; the one that is not stays for the next reader."""
        while (self._line or self._read()) and self._line[0] == kind:
            found, self._line = self._line, ()
            yield found[1:]

    def _read(self) -> bool:
        self._at += 1
        try:
            if not (text := self._file.readline().decode()):
                return False
            found = json.loads(text)
            if tuple(found) != LINES[found["type"]] or f"{_dumps(found)}\n" != text:
                raise ValueError(text)
            self._line = [_unhex(value) if name in _HEX else value for name, value in found.items()]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Damage("file", None, None, f"line {self._at} was changed") from None
        return True


def _unhex(text: str) -> bytes:
    found = bytes.fromhex(text)
    if found.hex() != text:  # capitals and blanks are taken, too
        raise ValueError(text)
    return found


def _read_heads(path: Path) -> dict[int, str]:
    """Read JSON lines ``{"last_seq", "note"}``: of two for one act the first; an unfinished one never counted."""
    try:
        lines = path.read_text("utf-8").split("\n")[:-1]
        return {int(head["last_seq"]): head["note"] for head in map(json.loads, reversed(lines))}
    except (ValueError, KeyError, TypeError):
        raise Damage("heads", None, None, "a line of the heads file was changed") from None


def _walked(path: Path, keys: dict[str, bytes], heads: Path | None, newest: int | None) -> Report:
    walk: _Walk | None = None
    damage: Damage | None = None
    try:
        address = f"file:{quote(str(path.absolute()))}?mode=ro"
        with path.open("rb") as file, closing(sqlite3.connect(address, uri=True)) as conn:
            is_store = file.read(15) == b"SQLite format 3"
            file.seek(0)
            walk = _Walk(_Store(conn) if is_store else _Export(file), keys, newest)
            walk.heads = _read_heads(heads) if heads else {}
            walk.run()
    except Damage as found:
        damage = Damage(found.kind, found.seq, found.act, str(found))  # without what holds the file
    except (sqlite3.DatabaseError, *_MALFORMED) as error:
        if walk is None and isinstance(error, sqlite3.OperationalError):
            raise Unreadable(f"{path}: not a store: {error}") from error
        damage = Damage("file", walk.last + 1 if walk else None, None, f"the file is damaged: {error}")
    except OSError as error:
        raise Unreadable(f"{error.filename}: {error.strerror}") from error
    numbers = (walk.source.first, walk.last, walk.count, walk.source.unsealed) if walk else (0, 0, 0, 0)
    return Report(*numbers, damage)


def verify(path: Path, public_key: Path, heads: Path | None = None) -> Report:
    """Verify a SQLite store or an export (told apart by their content), up to the first damaged place.

    Raises:
        Unreadable: a file is not there, or is not what it should be.
    """
    keys = _read_keys(public_key)
    report = _walked(path, keys, heads, _NEWEST)
    forged = report.damage is not None and report.damage.kind == "signature"
    return _walked(path, keys, heads, None) if forged else report  # name the first of them


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line: 0 all is as it was sealed, 1 damaged, 2 something cannot be read."""
    parser = argparse.ArgumentParser(description="Verify the audit trail of a store or an export.")
    parser.add_argument("file", type=Path, help="SQLite store (hub.db) or export (JSON lines)")
    parser.add_argument("--public-key", type=Path, required=True, help="audit.pub")
    parser.add_argument("--heads", type=Path, help="seals.log, kept outside the store")
    try:
        given = parser.parse_args(argv)
        report = verify(given.file, given.public_key, given.heads)
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 2
    if damage := report.damage:
        print(f"DAMAGED at act number {damage.seq}, id {damage.act}: {damage} ({damage.kind})")
        return 1
    print(f"OK: acts {report.first} to {report.last}, {report.seals} seals; unsealed: {report.unsealed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
