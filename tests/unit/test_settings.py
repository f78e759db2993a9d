"""Process settings: typed, from HUB_* alone, each mistake named by its variable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.cli.app import build
from hub.errors import SettingsError
from hub.settings import load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("HUB_")]:
        monkeypatch.delenv(name)


def test_without_any_variable_the_hub_runs_embedded():
    settings = load_settings()
    assert settings.store_address == f"sqlite:///{Path('var/hub.db')}"
    assert settings.key_path == Path("var/key")
    assert (settings.log_level, settings.log_format) == ("info", "json")


def test_the_environment_sets_and_an_option_of_the_command_line_wins(monkeypatch):
    monkeypatch.setenv("HUB_DATA_DIR", "/var/lib/hub")
    monkeypatch.setenv("HUB_STORE_URL", "postgresql://hub:pw9@db/hub")
    monkeypatch.setenv("HUB_LISTEN_OPS", "[::]:9000")
    monkeypatch.setenv("HUB_LOG_LEVEL", "")
    monkeypatch.setenv("HUB_KAFKA_BOOTSTRAP", "a:9092, b:9092")
    monkeypatch.setenv("HUB_KAFKA_SASL_PASSWORD", "pw9")
    settings = load_settings(data_dir="/srv/hub")
    assert settings.kafka_bootstrap == "a:9092,b:9092"
    assert settings.data_dir == Path("/srv/hub")
    assert settings.listen_ops == "[::]:9000"
    assert settings.store_address == "postgresql://hub:pw9@db/hub"
    assert "pw9" not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HUB_STORE_URL", "mysql://hub:pw9@db/hub", "sqlite or postgresql"),
        ("HUB_STORE_URL", "postgresql", "sqlite or postgresql"),
        ("HUB_LISTEN_OPS", "8080", "host:port"),
        ("HUB_LISTEN_HOOKS", "0.0.0.0:99999", "host:port"),
        ("HUB_LISTEN_HOOKS", "0.0.0.0:８０", "host:port"),
        ("HUB_LOG_LEVEL", "loud", "'debug'"),
        ("HUB_LOG_FORMAT", "xml", "'json'"),
        ("HUB_KAFKA_BOOTSTRAP", "kafka", "host:port"),
        ("HUB_KAFKA_BOOTSTRAP", "a:9092,b", "host:port"),
        ("HUB_KAFKA_SECURITY_PROTOCOL", "TLS", "'SASL_SSL'"),
        ("HUB_KAFKA_TOPIC_PREFIX", "a/", "letters"),
        ("HUB_KAFKA_PARTITIONS", "0", "greater than or equal to 1"),
        ("HUB_STORE_ULR", "postgresql://hub:pw9@db/hub", "did you mean HUB_STORE_URL?"),
        ("HUB_DATADIR", "/x", "did you mean HUB_DATA_DIR?"),
    ],
)
def test_a_mistake_names_its_variable_and_shows_no_password(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.field == name
    assert said in str(caught.value)
    assert "pw9" not in str(caught.value)


def test_variables_of_other_parts_do_not_disturb(monkeypatch):
    monkeypatch.setenv("HUB_CRASH_POINT", "claim:2")
    monkeypatch.setenv("HUB_TEST_REQUIRE", "postgres")
    monkeypatch.setenv("HUB_TEST_KAFKA_BOOTSTRAP", "127.0.0.1:9092")
    load_settings()


def test_the_command_line_finds_its_project_by_the_environment_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HUB_PROJECT_DIR", str(tmp_path / "nowhere"))
    told = CliRunner().invoke(build("en"), ["validate"])
    assert told.exit_code == 1
    assert "hub.yaml" in told.output
    repository = str(Path(__file__).parents[2])
    assert CliRunner().invoke(build("en"), ["validate", "--project", repository]).exit_code == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("store_url", "postgresql://hub:pw9@db/hub"), ("kafka_sasl_password", "a password")],
)
def test_a_secret_may_lie_in_a_file_and_nowhere_else_at_once(monkeypatch, tmp_path, name, value):
    file = tmp_path / "secret"
    file.write_text(f"{value}\n")
    variable = f"HUB_{name}".upper()
    monkeypatch.setenv(f"{variable}_FILE", str(file))
    found = getattr(load_settings(), name)
    assert found.get_secret_value() == value
    assert getattr(load_settings(**{name: None}), name) is None
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert refused.value.field == f"{variable}_FILE"
    monkeypatch.delenv(variable)
    monkeypatch.setenv(f"{variable}_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()


def test_the_seal_head_lies_outside_the_data_folder_unless_told_otherwise(monkeypatch, tmp_path):
    assert load_settings(data_dir=tmp_path / "var").head_path == tmp_path / "var.head"
    monkeypatch.setenv("HUB_SEAL_HEAD_FILE", "/srv/head")
    assert load_settings().head_path == Path("/srv/head")
