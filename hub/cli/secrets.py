"""``hub secrets``: credentials in the store, sealed; a value goes in and never comes out."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from hub.cli.command import add, group
from hub.cli.screen import local, plain
from hub.cli.session import USAGE, Failure, Session
from hub.store import sql
from hub.store.secrets import get_secret, put_secret
from hub.store.tx import Tx
from hub.vault import Vault, add_key

__all__ = ["list_", "load", "register", "rotate", "set_"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}", re.ASCII)
"""As in ``${secret:name}``."""
_OWN: Final = "hub."
"""Names of the hub's own marks: not shown, not set by hand."""
_names = sql.query(
    "SELECT name, version, key_id, expires FROM secrets WHERE name > '' ORDER BY name, version"
)


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "secrets")
    for function in (set_, load, list_, rotate):
        name = function.__name__.rstrip("_")
        add(made, lang, function, name, key=f"help.secrets.{name}")


def set_(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.secret", metavar="NAME")],
    *,
    stdin: Annotated[bool, typer.Option("--stdin", help="opt.stdin")] = False,
) -> None:
    """Store a new version of a secret; running processes read it when they next need it."""
    if not _NAME.fullmatch(name) or name.startswith(_OWN):
        raise Failure(session.text("secret_name", name=plain(name)), USAGE)
    value = (
        _read(session) if stdin else typer.prompt(session.text("secret_prompt", name=name), hide_input=True)
    )
    if not value:
        raise Failure(session.text("secret_empty"), USAGE)
    with session.hub(create=True) as hub:
        version = hub.store.run_now(_put, hub.vault, name, value.encode(), by=session.actor)
    if session.as_json:
        session.screen.json({"ok": True, "name": name, "version": version})
    else:
        session.screen.line(session.text("done.secret", name=name, version=version))


def _read(session: Session) -> str:
    """Read a value from a pipe; the end of the line that ``echo`` adds is not part of it."""
    raw = sys.stdin.buffer.read(1 << 20)
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Failure(session.text("secret_text"), USAGE) from None


def load(
    session: Session, files: Annotated[list[Path], typer.Argument(help="opt.files", metavar="FILE...")]
) -> None:
    """Store what files hold (a container's secrets), each under its file's name; what is stored already makes no version."""
    values = {}
    for file in files:
        name = file.name.replace("_", "-")
        if not _NAME.fullmatch(name) or name.startswith(_OWN):
            raise Failure(session.text("secret_name", name=plain(name)), USAGE)
        try:
            values[name] = file.read_text("utf-8").removesuffix("\n").removesuffix("\r").encode()
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{file}: {error}", USAGE) from error
        if not values[name]:
            raise Failure(f"{file}: {session.text('secret_empty')}", USAGE)
    with session.hub(create=True) as hub:
        stored = hub.store.run_now(_put_changed, hub.vault, values, by=session.actor)
    if session.as_json:
        session.screen.json({"ok": True, "stored": stored})
        return
    for name, version in stored.items():
        session.screen.line(session.text("done.secret", name=name, version=version))


def _put_changed(tx: Tx, vault: Vault, values: Mapping[str, bytes], *, by: str) -> dict[str, int]:
    known = {name: get_secret(tx, vault, name) for name in values}
    changed = {
        name: value
        for name, value in values.items()
        if (found := known[name]) is None or found.value != value
    }
    stored = {name: put_secret(tx, vault, name, value) for name, value in changed.items()}
    if stored:
        items = [
            {"secret": name, "version": version, "outcome": "stored"} for name, version in stored.items()
        ]
        tx.journal(by, "secret.set", {"items": items})
    return stored


def _put(tx: Tx, vault: Vault, name: str, value: bytes, *, by: str) -> int:
    version = put_secret(tx, vault, name, value)
    tx.journal(by, "secret.set", {"items": [{"secret": name, "version": version, "outcome": "stored"}]})
    return version


def list_(session: Session) -> None:
    """List names and versions."""
    with session.hub() as hub:
        found = [row for row in hub.store.read_now(_names) if not row[0].startswith(_OWN)]
    if session.as_json:
        session.screen.json(
            {
                "secrets": [
                    {"name": name, "version": version, "key": key_id} for name, version, key_id, _ in found
                ]
            }
        )
        return
    heads = [session.text(f"head.{name}") for name in ("name", "version", "key", "expires")]
    session.screen.table(
        heads, [(name, version, key_id, local(expires)) for name, version, key_id, expires in found]
    )


def rotate(
    session: Session, *, reseal: Annotated[bool, typer.Option("--reseal", help="opt.reseal")] = False
) -> None:
    """Add a key to the key file; with ``reseal`` seal the stored secrets under the newest one.

    Two steps, because a running process opens only what is sealed under keys it read at its start.
    """
    with session.hub() as hub:
        if reseal:
            count = hub.store.run_now(_reseal, hub.vault, by=session.actor)
            told, said = {"resealed": count}, session.text("done.reseal", count=count)
        else:
            version = add_key(
                hub.settings.key_path,
                hub.clock,
                lambda number: hub.store.run_now(_note_key, number, by=session.actor),
            )
            told, said = {"key_version": version}, session.text("done.rotate", version=version)
    if session.as_json:
        session.screen.json({"ok": True, **told})
    else:
        session.screen.line(said)


def _note_key(tx: Tx, version: int, *, by: str) -> None:
    tx.journal(by, "key.added", {"items": [{"version": version, "outcome": "added"}]})


def _reseal(tx: Tx, vault: Vault, *, by: str) -> int:
    """Write the newest version of each secret anew where another key sealed it; an older value is kept no longer."""
    newest = {name: key_id for name, _, key_id, _ in _names(tx)}
    old = [name for name, key_id in newest.items() if key_id != vault.key_id]
    moved = [_anew(tx, vault, name) for name in old]
    if moved:
        tx.journal(by, "secret.resealed", {"items": _items(moved)})
    return sum(not name.startswith(_OWN) for name, _ in moved)


def _anew(tx: Tx, vault: Vault, name: str) -> tuple[str, int]:
    found = get_secret(tx, vault, name)
    assert found is not None  # its name was just read in this transaction
    version = put_secret(tx, vault, name, found.value, expires=found.expires)
    tx.clock.crash_point("secrets.resealing")
    return name, version


def _items(moved: Sequence[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"secret": name, "version": version, "outcome": "resealed"} for name, version in moved]
