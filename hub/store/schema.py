"""The tables, one subset for SQLite and PostgreSQL.

Times are µs since the epoch, ids 16 bytes (UUIDv7), act numbers 64-bit integers. Columns named "json" in the
design are text holding JSON (encoded once with orjson, never touched by the database); sealed columns hold
ciphertext. A row in ``owed`` is a debt and disappears when paid; ``xrefs`` says what was agreed; ``acts`` says
who did what, one row per transaction.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = [
    "MIN_READER",
    "SCHEMA",
    "acts",
    "budgets",
    "connections",
    "hub",
    "jobs",
    "keys",
    "metadata",
    "owed",
    "records",
    "revisions",
    "seals",
    "secrets",
    "tokens",
    "touched",
    "xrefs",
]

SCHEMA = 2
"""The schema this code writes."""
MIN_READER = 1
"""The oldest schema number a program must know to work on this store."""

metadata = MetaData()


def _id(name: str, *, null: bool = True) -> Column[bytes]:
    return Column(name, LargeBinary(16), nullable=null)


def _t(name: str, *, null: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


def _text(name: str, *, null: bool = True) -> Column[str]:
    return Column(name, Text, nullable=null)


def _sealed(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=True)


hub = Table(
    "hub",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("schema", Integer, nullable=False),
    Column("min_reader", Integer, nullable=False),
    _id("epoch", null=False),
    Column("writes", Text, nullable=False, server_default="open"),
    Column("last_act", BigInteger, nullable=False, server_default="0"),
    Column("exported", BigInteger, nullable=False, server_default="0"),
)
"""One row. ``epoch`` is drawn anew at every restore; ``last_act`` counts acts on SQLite (a sequence elsewhere).

``exported``: up to this number sealed acts lie in verified files, so that they may be deleted here.
"""

records = Table(
    "records",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    _text("kind", null=False),
    Column("version", BigInteger, nullable=False),
    _text("region", null=False),
    _text("entity"),
    _text("owner"),
    _text("body", null=False),
    _id("merged_into"),
    _t("deleted"),
    _sealed("data_key"),
    _t("act", null=False),
    Index("records_by_region", "kind", "region", "id"),
)

keys = Table(
    "keys",
    metadata,
    _text("name", null=False),
    _text("value", null=False),
    _id("record", null=False),
    Column("strong", Boolean, nullable=False),
    PrimaryKeyConstraint("name", "value", "record"),
    Index("keys_by_record", "record"),
    Index(
        "keys_strong",
        "name",
        "value",
        unique=True,
        sqlite_where=text("strong = 1"),
        postgresql_where=text("strong"),
    ),
)

xrefs = Table(
    "xrefs",
    metadata,
    _text("connection", null=False),
    _text("object", null=False),
    _text("org", null=False),
    _text("vendor_id", null=False),
    _id("record", null=False),
    Column("is_primary", Boolean, nullable=False),
    _text("stable_key"),
    _text("snapshot", null=False),
    _text("stored_version"),
    _t("seen", null=False),
    _t("rest_until", null=False),
    _t("complete"),
    _text("stage"),
    _t("gone"),
    _text("sent", null=False),
    _t("act", null=False),
    PrimaryKeyConstraint("connection", "object", "org", "vendor_id"),
    Index("xrefs_by_record", "record"),
    Index(
        "xrefs_by_number",
        "stable_key",
        sqlite_where=text("stable_key IS NOT NULL"),
        postgresql_where=text("stable_key IS NOT NULL"),
    ),
    Index(
        "xrefs_primary",
        "connection",
        "object",
        "org",
        "record",
        unique=True,
        sqlite_where=text("is_primary = 1"),
        postgresql_where=text("is_primary"),
    ),
)

owed = Table(
    "owed",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    _text("sync", null=False),
    _text("subject", null=False),
    _text("connection", null=False),
    _text("target"),
    Column("lane", Integer, nullable=False),
    _text("state", null=False),
    _t("due", null=False),
    _t("want", null=False),
    _t("force"),
    _text("waits_for"),
    Column("attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    _text("cause"),
    _t("generation"),
    _text("operation"),
    Column("step", Integer, nullable=False),
    _text("key"),
    _t("key_until"),
    _text("base"),
    Column("version", BigInteger),
    Column("revision", Integer),
    _t("pinned_force"),
    _text("ref"),
    _text("refs"),
    _t("absent_after"),
    _t("fence"),
    _text("holder"),
    _t("lease"),
    _t("act", null=False),
    _t("since", null=False),
    _sealed("source"),
    _sealed("payload"),
    UniqueConstraint("sync", "subject"),
    Index(
        "owed_due",
        "connection",
        "lane",
        "due",
        sqlite_where=text("state IN ('ready', 'in_doubt')"),
        postgresql_where=text("state IN ('ready', 'in_doubt')"),
    ),
    Index(
        "owed_lease",
        "lease",
        sqlite_where=text("state = 'claimed'"),
        postgresql_where=text("state = 'claimed'"),
    ),
    Index(
        "owed_waits_for",
        "waits_for",
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
    Index(
        "owed_target",
        "target",
        unique=True,
        sqlite_where=text("generation IS NOT NULL"),
        postgresql_where=text("generation IS NOT NULL"),
    ),
    Index(
        "owed_parked",
        "sync",
        "since",
        sqlite_where=text("state = 'parked'"),
        postgresql_where=text("state = 'parked'"),
    ),
)
"""``since``: when this debt was raised (for people: first seen). ``lane``: 0 money and approvals, 1 live, 2 bulk."""

acts = Table(
    "acts",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    _t("at", null=False),
    _text("actor", null=False),
    _text("verb", null=False),
    _text("body", null=False),
    Column("seq", BigInteger),
    Column("hash", LargeBinary(32)),
    Index(
        "acts_seq",
        "seq",
        unique=True,
        sqlite_where=text("seq IS NOT NULL"),
        postgresql_where=text("seq IS NOT NULL"),
    ),
    Index("acts_unsealed", "id", sqlite_where=text("seq IS NULL"), postgresql_where=text("seq IS NULL")),
)

touched = Table(
    "touched",
    metadata,
    _id("record", null=False),
    Column("act", BigInteger, ForeignKey("acts.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("record", "act"),
    Index("touched_by_act", "act"),  # what goes when its act goes
)

seals = Table(
    "seals",
    metadata,
    Column("last_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("head", LargeBinary(32), nullable=False),
    Column("prev", LargeBinary(32), nullable=False),
    _t("at", null=False),
    _text("key_id", null=False),
    Column("signature", LargeBinary, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("name", Text, primary_key=True),
    _text("kind", null=False),
    _text("spec", null=False),
    _text("position", null=False),
    _t("due", null=False),
    _text("holder"),
    _t("lease"),
    Column("fence", BigInteger, nullable=False),
    _text("progress", null=False),
    _text("state", null=False),
    _t("act", null=False),
    Index("jobs_by_kind", "kind", "due"),
)

connections = Table(
    "connections",
    metadata,
    Column("name", Text, primary_key=True),
    _text("state", null=False),
    _text("cause"),
    _t("until"),
    Column("failures", Integer, nullable=False),
    _t("act", null=False),
)

budgets = Table(
    "budgets",
    metadata,
    Column("scope", Text, primary_key=True),
    _t("window", null=False),
    Column("used", BigInteger, nullable=False),
    _t("until"),
)

secrets = Table(
    "secrets",
    metadata,
    _text("name", null=False),
    Column("version", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    _text("key_id", null=False),
    _t("expires"),
    PrimaryKeyConstraint("name", "version"),
)

revisions = Table(
    "revisions",
    metadata,
    _text("kind", null=False),
    _text("name", null=False),
    Column("revision", Integer, nullable=False),
    _text("text", null=False),
    _text("digest", null=False),
    _t("at", null=False),
    _t("act", null=False),
    PrimaryKeyConstraint("kind", "name", "revision"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),
    _text("roles", null=False),
    _text("reach", null=False),
    _text("regions", null=False),
    _text("entities"),
    _text("owner"),
    _text("addresses", null=False),
    Column("rate", Integer, nullable=False),
    _t("expires", null=False),
    _t("made", null=False),
    _text("maker", null=False),
    _t("used"),
    _t("revoked"),
    Index("tokens_by_digest", "digest", unique=True),
)
"""API tokens; a revoked one stays, for acts name it. Lists are JSON; ``rate``: requests per second."""
