"""Log lines: one each, nothing secret, nothing a terminal or a line reader obeys (J13)."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sqlite3
from pathlib import Path

import pytest
import structlog
import uvicorn.config

from hub import log
from hub.errors import Cause, HubError, Refused, TryAgain
from hub.log import Quiet, calm, configure, get_logger, mask_with
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
        raise OSError("with s3cr3t-longer inside")
    except OSError:
        get_logger("x").exception(
            "failed s3cr3t", url="https://h/?k=s3cr3t", deep=[{"s3cr3t": ("s3cr3t-longer",)}]
        )
    logging.getLogger("alembic").warning("connecting with %s", "s3cr3t")
    text = "\n".join(read())
    assert "s3cr3t" not in text
    assert "longer" not in text
    assert "OSError: with *** inside" in text


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


def test_a_calmed_logger_repeats_no_text_for_a_while_and_others_go_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = [0.0]
    said_by = logging.getLogger("uvicorn.of.this.test")
    monkeypatch.setattr(said_by, "filters", [])
    quiet = Quiet(lambda: at[0], 10.0)
    end, nothing = (calm([said_by.name], quiet, level=logging.WARNING) for _ in range(2))
    nothing()  # a second call changed nothing
    for number in range(50):
        said_by.warning("bad request %d", number)
        said_by.warning("another thing")
        said_by.error("an error is never held back")
    at[0] = 11.0
    said_by.warning("bad request %d", 51)
    said = [one.getMessage() for one in caplog.records if one.name == said_by.name]
    assert [text for text in said if "error" not in text] == [
        "bad request 0",
        "another thing",
        "bad request 51",
    ]
    assert len(said) == 53
    end()
    assert said_by.filters == []


def test_a_line_that_cannot_be_written_stops_nobody(lines):
    lines()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        with pytest.raises(OSError, match="space"):
            print("x" * 20_000, file=full, flush=True)
        configure(lambda: 0, stream=full)
        get_logger("hub").error("something.failed", text="x" * 20_000)


def test_what_a_message_names_is_a_field_too(lines):
    read = lines()
    logging.getLogger("hub.pipe").warning(
        "read.failed sync=%s cause=%s %s", "k3.in", "rate", HubError("later")
    )
    (line,) = map(json.loads, read())
    assert line["event"] == "read.failed sync=k3.in cause=rate HubError: later"
    assert (line["sync"], line["cause"], line["logger"]) == ("k3.in", "rate", "hub.pipe")


class Diagnosed(Exception):
    """As psycopg's: a code, a constraint, and a message with the row in it."""

    sqlstate = "23505"
    diag = type("Diag", (), {"constraint_name": "keys_strong"})()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("张三 13900001234"), "ValueError"),
        (KeyError("张三"), "KeyError"),
        (Diagnosed("DETAIL: Key (name, value)=(phone, 张三 13900001234) already exists"), "Diagnosed 23505 keys_strong"),
        (Refused("客户“张三”手机 13900001234 重复", code="11", vendor="kingdee", field="FName"),
         "Refused cause=invalid vendor=kingdee code=11 field=FName"),
        (TryAgain("errmsg 张三", cause=Cause.RATE, code="45033"), "TryAgain cause=rate code=45033"),
        (TryAgain("GET h/p: cannot be reached"), "TryAgain: GET h/p: cannot be reached"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (sqlite3.OperationalError("database is locked"), "OperationalError: database is locked"),
    ],
)  # fmt: skip
def test_a_line_quotes_no_record_from_an_exception(lines, error, said):
    read, name = lines(), "张三 again"
    get_logger("a").warning("failed", error=error)
    logging.getLogger("b").warning("failed %s", error)
    try:
        try:
            raise error
        except Exception as first:
            raise RuntimeError(name) from first
    except RuntimeError:
        logging.getLogger("c").exception("failed")
        get_logger("d").exception("failed")
    found = [json.loads(line) for line in read()]
    assert found[0]["error"] == said
    assert found[1]["event"] == f"failed {said}"
    for line in found[2:]:
        assert f"{said}\ncaused:\n" in line["exception"]
        assert line["exception"].endswith("RuntimeError")
        assert "test_log.py" in line["exception"]
    assert "张三" not in str(found)
    assert "13900001234" not in str(found)
