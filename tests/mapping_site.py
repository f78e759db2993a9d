"""A small vendor and a way to compile one mapping against it, for the tests of the mapping language."""

from __future__ import annotations

from hub.mapping import (
    Compiled,
    Context,
    MappingInvalid,
    Outcome,
    Schemas,
    compile,  # noqa: A004 - the border's name
    crm_schemas,
    load_value_map,
)

CRM = crm_schemas()
WAYS = load_value_map('value_map: acme.way\nvalues: {"1": scan, card: card}', file="way.map.yaml")
LEVELS = load_value_map("value_map: acme.level\nvalues: {gold: A, silver: B}", file="level.map.yaml")
TWICE = load_value_map("value_map: acme.twice\nvalues: {a: same, b: same, c: other}", file="twice.map.yaml")
ACME = {
    "id": "integer",
    "name": "text",
    "phone": "text",
    "amount": "text",
    "total": "decimal",
    "count": "integer",
    "active": "flag",
    "day": "date",
    "at": "instant",
    "tags": "json",
    "phones": "texts",
    "extra": "json",
    "address.city": "text",
    "address.geo.lat": "decimal",
    "F_*": "text",
}
PAPER = {
    "Name": "text",
    "Total": "decimal",
    "Count": "integer",
    "Active": "flag",
    "Day": "date",
    "At": "instant",
    "Tags": "texts",
    "Extra": "json",
    "Group.Number": "text",
    "Group.Kind.Number": "text",
    "Rows[].Item.Number": "text",
    "Rows[].Amount": "decimal",
    "F_*": "text",
}
SCHEMAS = Schemas(
    {**CRM, "acme.person": ACME},
    {**CRM, "acme.paper": PAPER},
    {"acme.way": WAYS, "acme.level": LEVELS, "acme.twice": TWICE},
)


def inbound(fields: str, *, more: str = "", key: str = "[id]") -> str:
    """Write an inbound mapping; ``fields`` are lines without indent."""
    body = "\n".join(f"  {line}" for line in fields.strip().splitlines())
    return f"mapping: acme/person.in\nsource: acme.person\ntarget: crm.customer\nkey: {key}\n{more}fields:\n{body}\n"


def outbound(fields: str, *, more: str = "", kind: str = "customer") -> str:
    """Write an outbound mapping."""
    body = "\n".join(f"  {line}" for line in fields.strip("\n").splitlines())
    return f"mapping: acme/paper.out\nsource: crm.{kind}\ntarget: acme.paper\n{more}fields:\n{body}\n"


def made(text: str) -> Compiled:
    """Compile against the small vendor."""
    return compile(text, SCHEMAS, file="acme.yaml")


def value(
    expression: str, source: dict, *, field: str = "custom.x", context: Context | None = None, more: str = ""
) -> Outcome:
    """Map one field from ``expression`` and return its value, or the outcome that is not a record."""
    quoted = "'" + expression.replace("'", "''") + "'"
    outcome = made(inbound(f"{field}: {quoted}", more=more)).run({"id": 1, **source}, context or Context())
    return outcome.fields.get(field, "ABSENT") if hasattr(outcome, "fields") else outcome


def refusals(text: str) -> list[str]:
    """Return what the check says about a mapping that it must not accept."""
    try:
        made(text)
    except MappingInvalid as error:
        return [str(problem) for problem in error.problems]
    raise AssertionError("the mapping was accepted")


def refusal(expression: str, *, field: str = "custom.x") -> str:
    """Return the first thing the check says about one expression."""
    quoted = "'" + expression.replace("'", "''") + "'"
    return refusals(inbound(f"{field}: {quoted}"))[0]
