"""``hub tokens``: what programs call the API with."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import typer

from hub.access.tokens import (
    DEFAULT_RATE,
    MOST_DAYS,
    StoredToken,
    TokenRefused,
    TokenSpec,
    any_token,
    create_token,
    list_tokens,
    revoke_token,
)
from hub.cli.command import add, group
from hub.cli.screen import instant, local, plain
from hub.cli.session import NOT_FOUND, USAGE, Failure, Session
from hub.model.region import region_path
from hub.project.values import Project

__all__ = ["create", "list_", "register", "revoke"]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "tokens")
    for function in (create, list_, revoke):
        name = function.__name__.rstrip("_")
        add(made, lang, function, name, key=f"help.tokens.{name}")


def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.token", metavar="NAME")],
    *,
    roles: Annotated[list[str], typer.Option("--role", help="opt.token.role")],
    regions: Annotated[list[str] | None, typer.Option("--region", help="opt.token.region")] = None,
    entities: Annotated[list[str] | None, typer.Option("--entity", help="opt.token.entity")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="opt.token.owner")] = None,
    addresses: Annotated[list[str] | None, typer.Option("--from", help="opt.token.from")] = None,
    days: Annotated[int, typer.Option("--days", help="opt.token.days", min=1, max=MOST_DAYS)] = 365,
    rate: Annotated[int, typer.Option("--rate", help="opt.token.rate", min=1)] = DEFAULT_RATE,
) -> None:
    """Make a token and show it this once."""
    with session.hub(create=True) as hub:
        spec = TokenSpec(
            name=name,
            roles=roles,
            reach="self" if owner is not None else "subtree" if regions else "all",
            regions=_regions(session, hub.project, regions or ([""] if owner is not None else [])),
            entities=_entities(session, hub.project, entities),
            owner=owner,
            addresses=[_network(session, one) for one in addresses or ()],
            rate=rate,
            days=days,
        )
        first = not hub.store.read_now(any_token)
        try:
            made = hub.store.run_now(create_token, hub.vault, spec, by=session.actor)
        except TokenRefused as refused:
            raise Failure(session.cause(refused), USAGE) from None
        stored = next(one for one in hub.store.read_now(list_tokens) if one.name == name)
    if session.as_json:
        session.screen.json({"ok": True, "token": made, **_told(stored)})
        return
    session.screen.line(session.text("done.token", name=name, expires=local(stored.expires)))
    session.screen.line(made)
    if first:
        session.screen.line(session.text("token_closed"))


def list_(session: Session) -> None:
    """List what exists, never what opens the door."""
    with session.hub() as hub:
        found, now = hub.store.read_now(list_tokens), hub.clock.now()
    if session.as_json:
        session.screen.json({"tokens": [{**_told(one), "state": _state(one, now)} for one in found]})
        return
    if not found:
        session.screen.line(session.text("tokens_none"))
        return
    heads = [session.text(f"head.{one}") for one in ("name", "roles", "scope", "state", "expires", "used")]
    lines = [
        (
            one.name,
            ", ".join(one.roles),
            _scope(session, one),
            session.text(f"token.{_state(one, now)}"),
            local(one.expires),
            local(one.used),
        )
        for one in found
    ]
    session.screen.table(heads, lines)


def revoke(session: Session, name: Annotated[str, typer.Argument(help="opt.token", metavar="NAME")]) -> None:
    """Take a token out of use."""
    with session.hub() as hub:
        if not hub.store.run_now(revoke_token, name, by=session.actor):
            raise Failure(session.text("not_there", what=plain(name)), NOT_FOUND)
    if session.as_json:
        session.screen.json({"ok": True, "name": name})
    else:
        session.screen.line(session.text("done.token_revoked", name=name))


def _regions(session: Session, project: Project, given: list[str]) -> list[str]:
    return [_region(session, project, one) for one in given]


def _region(session: Session, project: Project, text: str) -> str:
    try:
        path = region_path(text)
    except ValueError as error:
        raise Failure(str(error), USAGE) from None
    if path and path not in project.regions:
        raise Failure(session.text("token_region", region=plain(text)), USAGE)
    return path


def _entities(session: Session, project: Project, given: list[str] | None) -> list[str] | None:
    for one in given or ():
        if one not in project.entities:
            raise Failure(session.text("token_entity", entity=plain(one)), USAGE)
    return given or None


def _network(session: Session, text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise Failure(session.text("token_address", address=plain(text)), USAGE) from None


def _state(one: StoredToken, now: int) -> str:
    if one.revoked is not None:
        return "revoked"
    return "expired" if one.expires <= now else "in_force"


def _scope(session: Session, one: StoredToken) -> str:
    parts = [path.removesuffix("/") or session.text("token.all") for path in one.regions]
    parts += [*(one.entities or ()), *([one.owner] if one.owner else [])]
    return ", ".join(parts) or session.text("token.all")


def _told(one: StoredToken) -> dict[str, object]:
    return {
        "name": one.name,
        "roles": one.roles,
        "reach": one.reach,
        "regions": one.regions,
        "entities": one.entities,
        "owner": one.owner,
        "from": one.addresses,
        "rate": one.rate,
        "expires": instant(one.expires),
        "made": instant(one.made),
        "by": one.maker,
        "used": instant(one.used),
        "revoked": instant(one.revoked),
    }
