"""Commands as plain functions: each gets a :class:`Session` first, and the options that all commands share.

An option's help is a key of :mod:`hub.cli.texts`; it is looked up when the commands are built in one language.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from hub.cli.session import OK, USAGE, Failure, Session, failed
from hub.cli.texts import LANGUAGES, TEXTS, text
from hub.settings import PREFIX

__all__ = ["SARIF", "add", "group", "shared_options"]

_OUTPUTS = ("table", "json")
SARIF = "sarif"
"""For programs that show problems beside the lines of files; a command that has such says so (``outputs``)."""


def _lang(value: str | None) -> str | None:
    if value is not None and value not in LANGUAGES:
        raise typer.BadParameter(f"zh | en, not {value}")
    return value


def _output(value: str | None) -> str | None:
    if value is not None and value not in (*_OUTPUTS, SARIF):
        raise typer.BadParameter(f"{' | '.join(_OUTPUTS)}, not {value}")
    return value


_SHARED: dict[str, Any] = {
    "project": Annotated[Path | None, typer.Option("--project", help="opt.project", show_default=False)],
    "data": Annotated[Path | None, typer.Option("--data", help="opt.data", show_default=False)],
    "lang": Annotated[
        str | None, typer.Option("--lang", help="opt.lang", callback=_lang, show_default=False)
    ],
    "output": Annotated[
        str | None, typer.Option("--output", help="opt.output", callback=_output, show_default=False)
    ],
}


def shared_options(lang: str) -> list[inspect.Parameter]:
    """Return the options that stand before and after every command."""
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_spoken(annotation, lang)
        )
        for name, annotation in _SHARED.items()
    ]


def _spoken(annotation: Any, lang: str) -> Any:
    """Return an annotation whose option's help is the text of its key."""
    marks = getattr(annotation, "__metadata__", ())
    if not marks:
        return annotation
    said = copy.copy(marks[0])
    if getattr(said, "help", None) in TEXTS:
        said.help = text(said.help, lang)
    return Annotated[annotation.__origin__, said]


def add(
    app: typer.Typer,
    lang: str,
    function: Callable[..., int | None],
    name: str,
    *,
    key: str = "",
    outputs: tuple[str, ...] = _OUTPUTS,
) -> None:
    """Register a function as a command: its return value is the exit code, None means done.

    ``key``: of the help text, ``help.<name>`` unless given. ``outputs``: the values of ``--output`` it takes.
    """
    hints = get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    spoken = [one.replace(annotation=_spoken(hints[one.name], lang)) for one in own]

    @functools.wraps(function)
    def command(context: typer.Context, **given: Any) -> None:
        session = _session(lang, {name: given.pop(name) for name in _SHARED}, context.find_root().obj or {})
        with failed(session):
            if session.output not in outputs:
                known = " | ".join(outputs)
                raise Failure(session.text("output_not_here", given=session.output, known=known), USAGE)
            raise SystemExit(function(session, **given) or OK)

    kind = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    signature = inspect.Signature(
        [context, *(one.replace(kind=kind) for one in spoken), *shared_options(lang)]
    )
    command.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    app.command(name, help=text(key or f"help.{name}", lang))(command)


def group(app: typer.Typer, lang: str, name: str) -> typer.Typer:
    """Register a group of commands and return it."""
    made = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(made, name=name, help=text(f"help.{name}", lang))
    return made


def _session(lang: str, given: dict[str, Any], before: dict[str, Any]) -> Session:
    """Join the options before the command and behind it; those behind win."""
    chosen = {name: value if value is not None else before.get(name) for name, value in given.items()}
    return Session(
        project=chosen["project"] or Path(os.environ.get(f"{PREFIX}PROJECT_DIR") or "."),
        data=chosen["data"],
        lang=chosen["lang"] or lang,
        output=chosen["output"] or "table",
    )
