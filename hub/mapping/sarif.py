"""Problems of mapping files in SARIF 2.1.0, the form that editors and code hosts show beside the lines.

The form: OASIS, https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html; section numbers below are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hub.mapping.problems import Problem
from hub.model.record import Json

__all__ = ["sarif_log"]

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_RULE: Final = "mapping"
_TEXT: Final = "A mapping file says what its source, its target or the language does not have."


def sarif_log(
    problems: Sequence[Problem], warnings: Sequence[Problem] = (), *, version: str
) -> dict[str, Json]:
    """Return one run with a result for each problem; ``version``: of the hub."""
    rules: list[Json] = [{"id": _RULE, "shortDescription": {"text": _TEXT}}]
    driver: dict[str, Json] = {"name": "integration-hub", "version": version, "rules": rules}
    results: list[Json] = [
        *(_result(one, "error") for one in problems),
        *(_result(one, "warning") for one in warnings),
    ]
    run: dict[str, Json] = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",  # 3.14.17: as our columns count
        "results": results,
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(problem: Problem, level: str) -> dict[str, Json]:
    hint = f"; did you mean {problem.nearest!r}?" if problem.nearest else ""
    field = f"{problem.field}: " if problem.field else ""
    region: dict[str, Json] = {"startLine": problem.line, "startColumn": problem.column}
    place: dict[str, Json] = {"artifactLocation": {"uri": _uri(problem.file)}, "region": region}
    if problem.field:
        named: list[Json] = [{"fullyQualifiedName": problem.field}]
        location: dict[str, Json] = {"physicalLocation": place, "logicalLocations": named}
    else:
        location = {"physicalLocation": place}
    return {
        "ruleId": _RULE,
        "ruleIndex": 0,
        "level": level,
        "message": {"text": _literal(f"{field}{problem.message}{hint}")},
        "locations": [location],
    }


def _literal(text: str) -> str:
    """Return a text in which braces are no placeholders (3.11.5)."""
    return text.replace("{", "{{").replace("}", "}}")


def _uri(file: str) -> str:
    """Return a file's name as a URI reference (3.4.3): relative stays relative, for the repository is elsewhere there."""
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
