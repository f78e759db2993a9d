"""The seeded simulator: the hub's real code and a real SQLite on virtual time, with a judge that shares none of it."""
