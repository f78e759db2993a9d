"""What every command shares: where the project and its files are, the language, who is signed in, how it fails."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hub import wiring
from hub.cli.screen import Screen, plain
from hub.cli.texts import text
from hub.clock import SystemClock
from hub.errors import HubError, SettingsError
from hub.pipe.refusal import NotPossible, NotThere
from hub.settings import DATA_DIR, PREFIX, Settings, load_settings
from hub.store.engine import Store

if TYPE_CHECKING:
    from hub.wiring import Hub

__all__ = ["INTERRUPTED", "NOT_FOUND", "NOT_TAKEN", "OK", "PROBLEM", "USAGE", "Failure", "Session", "failed"]

OK, PROBLEM, USAGE, NOT_FOUND = 0, 1, 2, 3
"""Exit codes: done · a problem was found, or the action is not possible · usage or settings · no such thing."""
NOT_TAKEN = 75
"""Nobody took what was published: try again once the hub runs (EX_TEMPFAIL of sysexits.h)."""
INTERRUPTED = 130
"""Ctrl-C ended it; what was done is kept."""


class Failure(Exception):
    """The command ends with this sentence and this exit code."""

    def __init__(self, message: str, code: int = PROBLEM) -> None:
        """Take the sentence in the reader's language."""
        super().__init__(message)
        self.code = code


@dataclass
class Session:
    """One run of a command."""

    project: Path
    data: Path | None
    lang: str
    output: str
    screen: Screen = field(init=False)

    def __post_init__(self) -> None:
        """Take the streams as they are now."""
        self.screen = Screen(as_json=self.output == "json")

    def text(self, key: str, **known: object) -> str:
        """Return a text in the reader's language."""
        return text(key, self.lang, **known)

    def cause(self, said: object) -> str:
        """Return the sentence of a member that carries both languages."""
        return str(getattr(said, self.lang))

    @property
    def as_json(self) -> bool:
        """Say whether a program reads the output."""
        return self.output == "json"

    @property
    def actor(self) -> str:
        """The signed-in system user: what acts name. The environment does not decide it."""
        try:
            return f"user:{pwd.getpwuid(os.getuid()).pw_name}"
        except KeyError:  # a container may run under a number without a name
            return f"user:{os.getuid()}"

    @property
    def settings(self) -> Settings:
        """The process's settings: options before ``HUB_*`` variables before defaults."""
        given: dict[str, object] = {"project_dir": self.project}
        if self.data is not None:
            given["data_dir"] = self.data.absolute()
        elif not os.environ.get(f"{PREFIX}DATA_DIR"):
            given["data_dir"] = DATA_DIR.absolute()
        return load_settings(**given)

    def _with_store(self) -> Settings:
        settings = self.settings
        if settings.store_url is None and not (settings.data_dir / "hub.db").exists():
            raise SettingsError(self.text("no_store"), file=str(settings.data_dir))
        return settings

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """Open the store alone: for what must be possible even when what is in force cannot be used any more.

        Raises:
            SettingsError: there is no store yet.
        """
        opened = Store.open(self._with_store().store_address, SystemClock())
        try:
            yield opened
        finally:
            opened.close()

    @contextlib.contextmanager
    def hub(self, *, create: bool = False) -> Iterator[Hub]:
        """Open the hub to look or to act in one transaction; it may run meanwhile.

        Raises:
            SettingsError: the project is not valid, or (unless ``create``) there is no store yet.
        """
        settings = self.settings if create else self._with_store()
        opened = wiring.open_hub(settings)
        try:
            yield opened
        finally:
            opened.close()


@contextlib.contextmanager
def failed(session: Session) -> Iterator[None]:
    """Turn what is expected to go wrong into a sentence and an exit code; a programming mistake stays a traceback."""
    try:
        yield
    except Failure as error:
        _end(session, str(error), error.code)
    except NotThere as error:
        _end(session, session.text("not_there", what=plain(error)), NOT_FOUND)
    except NotPossible as error:
        detail = f": {error.detail}" if error.detail else ""
        _end(session, session.cause(error.reason) + detail, PROBLEM)
    except SettingsError as error:
        _end(session, str(error), USAGE)
    except HubError as error:
        cause = getattr(error, "cause", None)
        said = str(error) if cause is None else f"{session.cause(cause)}: {error}"
        _end(session, said, PROBLEM)
    except BrokenPipeError:  # the reader has gone: `hub dlq list | head`
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - nothing may be written at exit any more
        raise SystemExit(OK) from None


def _end(session: Session, message: str, code: int) -> None:
    if session.as_json:
        session.screen.json({"ok": False, "error": message, "exit": code})
    else:
        session.screen.warn(message)
    raise SystemExit(code)
