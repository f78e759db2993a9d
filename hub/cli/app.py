"""The command line: one group of commands a file, imported when it is asked for, built in the reader's language."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from hub.cli.command import shared_options
from hub.cli.report import DISTRIBUTION
from hub.cli.texts import text

__all__ = ["COMMANDS", "build"]

COMMANDS: Final[Mapping[str, str]] = {
    "demo": "demo",
    "up": "serve",
    "sandbox": "serve",
    "validate": "project",
    "check": "check",
    "status": "status",
    "trace": "trace",
    "dlq": "dlq",
    "exports": "exports",
    "pause": "syncs",
    "resume": "syncs",
    "run": "syncs",
    "fields": "fields",
    "mapping": "mapping",
    "approvals": "approvals",
    "notices": "notices",
    "secrets": "secrets",
    "tokens": "tokens",
    "audit": "audit",
    "backup": "backup",
    "restore": "backup",
    "bus": "bus",
    "writes": "writes",
    "migrate": "migrate",
}
"""Command or group, in the order of the help -> the module of this package that registers it."""


def build(lang: str) -> typer.Typer:
    """Return the command line with help in a language; so is the output, unless ``--lang`` says otherwise."""

    class Commands(TyperGroup):
        """The commands of the table: the one that is called is imported, all of them for the help."""

        def list_commands(self, _ctx: Any) -> list[str]:
            return list(COMMANDS)

        def get_command(self, _ctx: Any, cmd_name: str) -> Any:
            wanted = [cmd_name] if cmd_name in COMMANDS else COMMANDS  # all of them, for the nearest name
            for module in {COMMANDS[name]: None for name in wanted if name not in self.commands}:
                self.commands.update(_registered(module, lang))
            return self.commands.get(cmd_name)

    app = typer.Typer(
        name="hub",
        cls=Commands,
        help=text("help", lang),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_before(lang))
    return app


def _registered(module: str, lang: str) -> Mapping[str, Any]:
    made = typer.Typer(add_completion=False, rich_markup_mode=None)
    importlib.import_module(f"hub.cli.{module}").register(made, lang)
    return get_group(made).commands


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
