"""The CloudEvents envelope in binary mode."""

from __future__ import annotations

import pytest

from hub.model import Event, InvalidEvent

HEADERS = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/k3"), ("ce_type", b"hub.record")]


def test_an_event_survives_its_headers():
    event = Event(
        "1",
        "/k3",
        "hub.record",
        subject="客户/1",
        time="2026-01-10T02:03:04Z",
        data=b"{}",
        extensions={"traceparent": "00-a", "hint": "1"},
    )
    assert Event.parse(event.headers(), b"{}") == event
    assert [name for name, _ in event.headers()][-3:] == ["ce_hint", "ce_traceparent", "content-type"]


def test_other_headers_are_left_alone_and_names_have_no_case():
    headers = [(name.upper(), value) for name, value in HEADERS] + [
        ("x", b"\xff"),
        ("y", b"1"),
        ("Content-Type", b"text/xml"),
    ]
    event = Event.parse(headers, b"<a/>")
    assert (event.id, event.content_type, event.data, dict(event.extensions)) == (
        "1",
        "text/xml",
        b"<a/>",
        {},
    )


def test_a_time_is_kept_in_utc():
    assert (
        Event.parse([*HEADERS, ("ce_time", b"2026-01-10T10:03:04+08:00")], b"").time == "2026-01-10T02:03:04Z"
    )


@pytest.mark.parametrize(
    "headers",
    [
        [],
        HEADERS[1:],
        HEADERS[:-1],
        [("ce_specversion", b"0.3"), *HEADERS[1:]],
        [*HEADERS, ("ce_id", b"1")],
        [*HEADERS, ("CE_ID", b"2")],
        [*HEADERS, ("ce_subject", b"\xff")],
        [*HEADERS, ("ce_time", b"2026-01-10")],
        [*HEADERS, ("ce_time", b"2026-01-10T10:03:04")],
        [*HEADERS, ("ce_bad-name", b"1")],
        [*HEADERS, ("ce_data", b"1")],
        [("ce_specversion", b"1.0"), ("ce_id", b""), *HEADERS[2:]],
    ],
)
def test_headers_that_are_no_envelope_are_refused(headers):
    with pytest.raises(InvalidEvent):
        Event.parse(headers, b"")


@pytest.mark.parametrize(
    "event",
    [
        Event("", "/s", "t"),
        Event("1", "/s", "t", extensions={"id": "2"}),
        Event("1", "/s", "t", extensions={"A": "2"}),
    ],
)
def test_an_event_that_is_not_whole_is_not_sent(event):
    with pytest.raises(InvalidEvent):
        event.headers()
