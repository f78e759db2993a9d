"""Triggers that keep the journal append-only, as SQL for both engines.

An act may be given its ``seq`` and ``hash`` once, together; nothing else of it ever changes. Seals never change. What
was exported and verified may be deleted, act by act and seal by seal, nothing else. A touched row goes only with
its act.
"""

from __future__ import annotations

__all__ = ["triggers"]

_SEALING = """OLD.seq IS NULL AND OLD.hash IS NULL AND NEW.seq IS NOT NULL AND NEW.hash IS NOT NULL
  AND NEW.id = OLD.id AND NEW.at = OLD.at AND NEW.actor = OLD.actor AND NEW.verb = OLD.verb AND NEW.body = OLD.body"""
_EXPORTED = "OLD.{} IS NOT NULL AND OLD.{} <= (SELECT exported FROM hub)"
_ORPHANED = "NOT EXISTS (SELECT 1 FROM acts WHERE id = OLD.act)"
_REFUSE = (
    "RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only';"  # no percent sign: drivers read it
)

# table, event, what is allowed
_RULES = (
    ("acts", "UPDATE", _SEALING),
    ("acts", "DELETE", _EXPORTED.format("seq", "seq")),
    ("seals", "UPDATE", None),
    ("seals", "DELETE", _EXPORTED.format("last_seq", "last_seq")),
    ("touched", "UPDATE", None),
    ("touched", "DELETE", _ORPHANED),
)


def triggers(dialect: str) -> list[str]:
    """Return the statements that create sequence, functions and triggers for ``sqlite`` or ``postgresql``."""
    if dialect == "sqlite":
        return [_sqlite(*rule) for rule in _RULES]
    truncate = [
        f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION append_only()"
        for table in ("acts", "seals", "touched")
    ]
    return [
        "CREATE SEQUENCE acts_id AS bigint",
        _function("append_only", _REFUSE),
        *(
            _function(f"{table}_delete", f"IF {allowed} THEN RETURN OLD; END IF; {_REFUSE}")
            for table, event, allowed in _RULES
            if event == "DELETE"
        ),
        *(_postgres(*rule) for rule in _RULES),
        *truncate,
    ]


def _sqlite(table: str, event: str, allowed: str | None) -> str:
    when = f"WHEN NOT ({allowed}) " if allowed else ""
    return (
        f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} FOR EACH ROW {when}"
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )


def _postgres(table: str, event: str, allowed: str | None) -> str:
    # a WHEN clause spares the call of a function but may hold no sub-query
    when = f"WHEN (NOT ({allowed})) " if allowed == _SEALING else ""
    function = f"{table}_delete" if event == "DELETE" else "append_only"
    return (
        f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} FOR EACH ROW {when}"
        f"EXECUTE FUNCTION {function}()"
    )


def _function(name: str, body: str) -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
