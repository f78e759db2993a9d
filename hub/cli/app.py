"""The command line: one group of commands a file, built in the reader's language."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Annotated, Any

import typer

from hub.cli import (
    approvals,
    audit,
    backup,
    bus,
    check,
    demo,
    dlq,
    exports,
    fields,
    mapping,
    migrate,
    notices,
    project,
    secrets,
    serve,
    status,
    syncs,
    trace,
    writes,
)
from hub.cli.command import shared_options
from hub.cli.report import DISTRIBUTION
from hub.cli.texts import text

__all__ = ["build"]

_GROUPS = (
    demo,
    serve,
    project,
    check,
    status,
    trace,
    dlq,
    exports,
    syncs,
    fields,
    mapping,
    approvals,
    notices,
    secrets,
    audit,
    backup,
    bus,
    writes,
    migrate,
)


def build(lang: str) -> typer.Typer:
    """Return the command line with help in a language; so is the output, unless ``--lang`` says otherwise."""
    app = typer.Typer(
        name="hub",
        help=text("help", lang),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_before(lang))
    for one in _GROUPS:
        one.register(app, lang)
    return app


def _before(lang: str) -> Any:
    """Return what stands before every command: the shared options, and the version."""

    def before(context: typer.Context, **given: Any) -> None:
        del given["version"]  # it has printed and ended
        context.obj = given

    shown = Annotated[
        bool, typer.Option("--version", help=text("opt.version", lang), is_eager=True, callback=_show_version)
    ]
    keyword = inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature(
        [
            inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            inspect.Parameter("version", keyword, default=False, annotation=shown),
            *shared_options(lang),
        ]
    )
    before.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
    before.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    return before


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"hub {version(DISTRIBUTION)}")
        raise typer.Exit
