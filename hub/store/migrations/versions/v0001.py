"""The first schema.

Until the first release it is taken from the tables themselves; the revision that follows it must first write this
one out as it then is, so that later tables do not creep into it.
"""

from __future__ import annotations

from alembic import op

from hub.store import schema
from hub.store.migrations import ADDED, create_statements
from hub.store.triggers import triggers

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create tables, indexes, sequence and triggers."""
    bind = op.get_bind()
    dialect = "sqlite" if bind.dialect.name == "sqlite" else "postgresql"
    first = frozenset(schema.metadata.tables).difference(*ADDED.values())
    for statement in (*create_statements(dialect, only=first), *triggers(dialect)):
        bind.exec_driver_sql(statement)
