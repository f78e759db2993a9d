"""API tokens: a table more, and nothing that an older program reads."""

from __future__ import annotations

from alembic import op

from hub.store.migrations import ADDED, create_statements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of this revision with their indexes."""
    bind = op.get_bind()
    dialect = "sqlite" if bind.dialect.name == "sqlite" else "postgresql"
    for statement in create_statements(dialect, only=ADDED[revision]):
        bind.exec_driver_sql(statement)
