"""The database that the tests stand on: real, safe settings, byte order, apart from each other."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from tests.postgres import Postgres, Unavailable, open_postgres


def _ask(url: str, question: str) -> list[tuple[object, ...]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        answer = [tuple(row) for row in connection.execute(text(question))]
    engine.dispose()
    return answer


@pytest.mark.parametrize(("setting", "value"), [("fsync", "on"), ("synchronous_commit", "on")])
def test_the_server_keeps_what_it_confirmed(postgres_url: str, setting: str, value: str) -> None:
    assert _ask(postgres_url, f"SHOW {setting}") == [(value,)]


def test_text_sorts_by_its_bytes(fresh_postgres_url: str) -> None:
    words = "SELECT w FROM (VALUES ('b'), ('B'), ('a/b'), ('a0')) AS t(w) ORDER BY w"
    assert [word for (word,) in _ask(fresh_postgres_url, words)] == ["B", "a/b", "a0", "b"]


def test_two_tests_never_share_a_fresh_database(postgres_server: Postgres, fresh_postgres_url: str) -> None:
    other = postgres_server.create()
    assert make_url(other).database != make_url(fresh_postgres_url).database
    postgres_server.drop(other)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(make_url(other).set(drivername="postgresql").render_as_string(hide_password=False))


def test_a_server_that_does_not_answer_is_said_to_be_unavailable(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HUB_TEST_POSTGRES_URL", "postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(Unavailable, match="does not answer"), open_postgres(tmp_path):
        pass
