"""The WeCom door: golden vectors, every refusal alike, every event of the table with its effect."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest

from connectors.wecom.events import EVENTS
from hub.clock import SECOND
from hub.errors import Cause, InboundRefused, SettingsError
from hub.sdk import InboundRequest, Received, VendorKey
from tests.wecom_door import (
    CORP,
    KEY,
    NOW,
    TOKEN,
    VECTORS,
    WM,
    connector,
    envelope,
    event,
    event_xml,
    get,
    post,
    seal,
    seal_plain,
    sign,
)

ALL = [*VECTORS["published"]["vectors"], *VECTORS["computed"]["vectors"]]
ADDED = "change_external_contact/add_external_contact"
FOLLOW = VendorKey("", f"zhangsan/{WM}")
DOOR = connector()


def request_of(vector: dict) -> InboundRequest:
    names = ("msg_signature", "timestamp", "nonce")
    query = tuple((name, vector[name]) for name in names)
    if vector["method"] == "GET":
        return InboundRequest(
            "GET", (*query, ("echostr", vector["encrypt"])), {}, b"", int(vector["timestamp"]) * SECOND
        )
    return InboundRequest("POST", query, {}, envelope(vector["encrypt"]), int(vector["timestamp"]) * SECOND)


def door_of(vector: dict):
    return connector(
        corp_id=vector["corp_id"], token=vector["token"], encoding_aes_key=vector["encoding_aes_key"]
    )


ALIKE = (Cause.SIGNATURE, Cause.CIPHER, Cause.RECEIVER, Cause.CLOCK, Cause.BAD_ANSWER)
"""The caller is told the same for all of these."""


def refused(request: InboundRequest, door=DOOR, causes=ALIKE) -> None:
    with pytest.raises(InboundRefused) as caught:
        door.receive(request)
    assert caught.value.cause in causes, caught.value.cause
    assert TOKEN not in str(caught.value)
    assert KEY not in str(caught.value)


# ------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("vector", ALL, ids=lambda vector: vector["name"])
def test_a_golden_vector_is_accepted(vector):
    received = door_of(vector).receive(request_of(vector))
    assert (received.status, received.body) == (
        200,
        vector["message"].encode() if vector["method"] == "GET" else b"",
    )


def test_the_vendors_sample_message_is_acknowledged_without_effect():
    vector = VECTORS["published"]["vectors"][1]
    assert door_of(vector).receive(request_of(vector)) == Received(ignored="message/text")


def test_an_added_customer_gives_a_hint_for_the_contact_and_then_for_the_follow():
    vector = VECTORS["computed"]["vectors"][0]
    received = door_of(vector).receive(request_of(vector))
    digest = hashlib.sha256(vector["message"].encode()).hexdigest()
    assert [(one.stream, one.key, one.id, one.type, one.record) for one in received.events] == [
        ("contact", VendorKey("", WM), f"{digest}.contact", ADDED, None),
        ("follow", FOLLOW, f"{digest}.follow", ADDED, None),
    ]


@pytest.mark.parametrize("place", range(0, 44, 3))
@pytest.mark.parametrize("name", ["msg_signature", "timestamp", "nonce", "encrypt"])
def test_w2_one_flipped_bit_of_the_signed_input_is_refused(name, place):
    vector = dict(VECTORS["computed"]["vectors"][0])
    text = bytearray(vector[name].encode())
    text[place % len(text)] ^= 1
    now = int(vector["timestamp"]) * SECOND
    vector[name] = text.decode()
    request = request_of({**vector, "timestamp": "1700000000"})
    query = tuple((key, vector.get(key, value)) for key, value in request.query)
    refused(replace(request, query=query, now=now), door_of(vector))


# ------------------------------------------------------------------------------------------- the door


def test_a_handshake_is_answered_with_exactly_the_bytes_inside():
    message = b"\r\n 1616140317555161061\xe4\xbd\xa0\n"
    assert DOOR.receive(get(seal(message))) == Received(body=message)


def test_w12_a_handshake_with_another_signature_is_refused():
    refused(get(seal(b"1"), token="Another"))


def test_w12_another_corps_id_inside_a_valid_signature_is_refused():
    refused(post(seal(event_xml(ADDED), corp="ww9999999999999999")))
    refused(post(seal(event_xml(ADDED), corp="")))
    refused(post(seal(event_xml(ADDED), corp=CORP + "x")))


def test_the_reason_for_the_log_says_whose_id_came():
    with pytest.raises(InboundRefused, match="ww9999999999999999"):
        DOOR.receive(post(seal(event_xml(ADDED), corp="ww9999999999999999")))


@pytest.mark.parametrize(
    ("request_", "cause", "setting"),
    [
        (post(seal(event_xml(ADDED)), token="Mistyped"), Cause.SIGNATURE, "token"),
        (get(seal(b"1"), token="Mistyped"), Cause.SIGNATURE, "token"),
        (post(seal(event_xml(ADDED), key="C" * 42 + "A")), Cause.CIPHER, "encoding_aes_key"),
        (post(seal(event_xml(ADDED), corp="ww9999999999999999")), Cause.RECEIVER, "corp_id"),
        (post(seal(event_xml(ADDED)), timestamp=str(NOW - 601)), Cause.CLOCK, "callback_window"),
        (post(SOMETHING := seal(b"1"), body=b'{"Encrypt": "1"}'), Cause.INVALID, "who else calls"),
        (post(SOMETHING, body=b"<xml><Encrypt>"), Cause.BAD_ANSWER, "proxy"),
    ],
    ids=["token", "token of a handshake", "key", "corp", "clock", "json", "broken"],
)
def test_a_refusal_says_in_our_log_what_is_wrong_and_which_setting_to_compare(request_, cause, setting):
    with pytest.raises(InboundRefused, match=setting) as caught:
        DOOR.receive(request_)
    assert caught.value.cause is cause


def from_app(agent_id: str, word: str = ADDED, **fields: str) -> InboundRequest:
    sealed = seal(event_xml(word, UserID="a", ExternalUserID=WM, **fields))
    inside = f"<AgentID>{agent_id}</AgentID>" if agent_id else ""
    return post(sealed, body=f"<xml><Encrypt>{sealed}</Encrypt>{inside}</xml>".encode())


def test_a_callback_made_for_another_app_is_refused_where_the_connection_names_its_own():
    assert DOOR.receive(from_app("1000002")).events
    assert DOOR.receive(from_app(" 1000002\n")).events
    assert DOOR.receive(from_app("")).events  # only callbacks of an app carry one
    refused(from_app("1000003"), causes=[Cause.RECEIVER])
    refused(from_app("1" * 5_000), causes=[Cause.RECEIVER])
    assert connector(agent_id=None).receive(from_app("1000003")).events


def test_an_approval_comes_under_the_id_of_wecoms_own_app():
    received = DOOR.receive(from_app("3010040", "sys_approval_change", AgentID="3010040"))
    assert received.ignored == "incomplete: sys_approval_change"  # it has come in, and names no approval


APPROVAL = {
    "SpNoStr": "202611300001",
    "SpNo": "202611300001",
    "TemplateId": "3TmA",
    "SpStatus": "2",
    "StatuChangeEvent": "2",
}


def approval(**given: str | None) -> InboundRequest:
    """Return an approval event; None leaves an element out."""
    inside = "".join(
        f"<{name}>{value}</{name}>" for name, value in (APPROVAL | given).items() if value is not None
    )
    more = "<Applyer><UserId>a</UserId></Applyer><Notifyer><UserId>b</UserId></Notifyer><Notifyer><UserId>c</UserId></Notifyer>"
    xml = event_xml("sys_approval_change").removesuffix(b"</xml>")
    return post(seal(xml + f"<ApprovalInfo>{inside}{more}</ApprovalInfo></xml>".encode()))


@pytest.mark.parametrize(
    ("given", "numbers", "ignored"),
    [
        ({}, ["202611300001"], None),
        ({"SpNoStr": None}, ["202611300001"], None),
        ({"SpNo": None}, ["202611300001"], None),
        ({"SpNo": "202611300000"}, ["202611300001"], None),
        ({"SpNoStr": "", "SpNo": ""}, [], "incomplete: sys_approval_change"),
        ({"SpNoStr": "../2026"}, [], "incomplete: sys_approval_change"),
        ({"SpNoStr": "9" * 65}, [], "incomplete: sys_approval_change"),
        ({"TemplateId": None}, [], "incomplete: sys_approval_change"),
        ({"TemplateId": "3TmC"}, [], "not taken in: sys_approval_change"),
        ({"StatuChangeEvent": "5"}, [], "not taken in: sys_approval_change"),
        ({"StatuChangeEvent": "99"}, ["202611300001"], None),
        ({"StatuChangeEvent": None}, ["202611300001"], None),
    ],
)
def test_an_approval_event_is_a_hint_on_the_number_it_names(
    given: dict[str, str | None], numbers: list[str], ignored: str | None
):
    received = connector(template_ids="3TmA, 3TmB").receive(approval(**given))
    assert [(one.stream, one.key.id, one.record) for one in received.events] == [
        ("approval", one, None) for one in numbers
    ]
    assert received.ignored == ignored


def test_without_templates_no_approval_is_taken_in():
    assert DOOR.receive(approval()).ignored == "not taken in: sys_approval_change"


def test_two_approvals_in_one_event_are_refused():
    doubled = event_xml("sys_approval_change").replace(b"</xml>", b"<ApprovalInfo/><ApprovalInfo/></xml>")
    refused(post(seal(doubled)))


CONTENT = b"0123456789abcdef" + (3).to_bytes(4, "big") + b"<x>" + CORP.encode()


@pytest.mark.parametrize(
    "plain",
    [
        CONTENT.ljust(63, b".") + bytes([0]),
        CONTENT.ljust(63, b".") + bytes([33]),
        CONTENT.ljust(63, b".") + bytes([255]),
        CONTENT.ljust(63, b".") + bytes([23]),
        bytes([32]) * 32,
        b"0123456789abcdef"
        + (2**31).to_bytes(4, "big")
        + b"<x>"
        + CORP.encode().ljust(20, b".")
        + bytes([21]) * 21,
        bytes([31]) * 32,
    ],
    ids=[
        "pad 0",
        "pad 33",
        "pad 255",
        "pad that does not repeat",
        "nothing but padding",
        "length beyond the end",
        "no prefix",
    ],
)
def test_w12_a_plaintext_that_is_not_laid_out_as_it_must_is_refused(plain):
    refused(post(seal_plain(plain)))
    refused(get(seal_plain(plain)))


@pytest.mark.parametrize(
    "sealed", [base64.b64encode(b"0" * 48).decode(), "", "AAAA", "no base64!", "A" * 31, "AA AA" * 32, "é"]
)
def test_w12_what_is_no_ciphertext_of_whole_blocks_is_refused(sealed):
    refused(post(sealed))
    refused(get(sealed))


@pytest.mark.parametrize(
    "timestamp",
    [
        str(NOW - 601),
        str(NOW + 601),
        "nan",
        "inf",
        "1e3",
        "１７００００００００",
        "-1700000000",
        "+1700000000",
        "1" * 20,
        "",
        " 1700000000",
        "1700000000.0",
        "²",
    ],
)
def test_w4_a_timestamp_outside_the_window_or_in_another_form_is_refused(timestamp):
    refused(post(seal(event_xml(ADDED)), timestamp=timestamp))


@pytest.mark.parametrize("timestamp", [str(NOW - 600), str(NOW + 600)])
def test_a_timestamp_at_the_edge_of_the_window_is_accepted(timestamp):
    assert DOOR.receive(
        post(seal(event_xml(ADDED, UserID="ZhangSan", ExternalUserID=WM)), timestamp=timestamp)
    ).events


def test_the_window_is_a_setting():
    narrow = connector(callback_window=10)
    refused(post(seal(event_xml(ADDED)), timestamp=str(NOW - 11)), narrow)
    assert narrow.receive(post(seal(event_xml(ADDED)), timestamp=str(NOW - 10))).status == 200


@pytest.mark.parametrize("name", ["msg_signature", "timestamp", "nonce"])
def test_a_parameter_that_is_missing_or_stands_twice_is_refused(name):
    request = event(ADDED)
    refused(replace(request, query=tuple(pair for pair in request.query if pair[0] != name)))
    refused(
        replace(
            request,
            query=(*request.query, dict([pair for pair in request.query if pair[0] == name]).popitem()),
        )
    )


@pytest.mark.parametrize("signature", ["", "v1,é", "v1,@@@@", "\udcff", "A" * 40, "0" * 10_000])
def test_w3_a_signature_of_another_form_is_refused(signature):
    request = event(ADDED)
    refused(replace(request, query=(("msg_signature", signature), *request.query[1:])))


def test_a_signature_in_upper_case_is_refused():
    request = event(ADDED)
    refused(replace(request, query=(("msg_signature", request.query[0][1].upper()), *request.query[1:])))


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "get"])
def test_w14_another_method_is_refused(method):
    refused(replace(event(ADDED), method=method))


def test_the_old_token_and_key_are_accepted_while_they_are_exchanged():
    new = {"token": "NewToken", "encoding_aes_key": "B" * 42 + "A"}
    rotating = connector(**new, previous_token=TOKEN, previous_encoding_aes_key=KEY)
    xml = event_xml(ADDED, UserID="ZhangSan", ExternalUserID=WM)
    old_request = post(seal(xml))
    new_request = post(seal(xml, key=new["encoding_aes_key"]), token="NewToken")
    assert rotating.receive(old_request) == rotating.receive(new_request)
    assert rotating.receive(old_request).events
    refused(old_request, connector(**new))


def test_nothing_is_received_without_callbacks():
    polling = connector(receive="poll", token=None, encoding_aes_key=None)
    refused(event(ADDED), polling)
    refused(get(seal(b"1")), polling)
    refused(
        replace(
            event(ADDED),
            query=(
                ("msg_signature", sign("", str(NOW), "n", seal(b"1"))),
                ("timestamp", str(NOW)),
                ("nonce", "n"),
            ),
        ),
        polling,
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"token": None}, "token"),
        ({"encoding_aes_key": None}, "encoding_aes_key"),
        ({"encoding_aes_key": "short"}, "encoding_aes_key"),
        ({"encoding_aes_key": KEY + "="}, "encoding_aes_key"),
        ({"encoding_aes_key": "！" * 43}, "encoding_aes_key"),
        ({"encoding_aes_key": "*" * 43}, "encoding_aes_key"),
        ({"previous_encoding_aes_key": "short"}, "previous_encoding_aes_key"),
        ({"token": "has a blank"}, "token"),
        ({"token": "x" * 33}, "token"),
        ({"receive": "push"}, "receive"),
        ({"callback_window": 0}, "callback_window"),
        ({"page_size": 101}, "page_size"),
        ({"tag_group": "组" * 31}, "tag_group"),
    ],
)
def test_a_setting_that_cannot_be_is_named(changes, field):
    with pytest.raises(SettingsError) as caught:
        connector(**changes)
    assert caught.value.field == field
    assert KEY not in str(caught.value)


# ------------------------------------------------------------------------------------------- XML


SEALED = seal(event_xml(ADDED, UserID="ZhangSan", ExternalUserID=WM))
BOMB = "".join(f'<!ENTITY l{level} "' + f"&l{level - 1};" * 10 + '">' for level in range(1, 9))
BODIES = {
    "x1 billion laughs": f'<!DOCTYPE xml [<!ENTITY l0 "ha">{BOMB}]><xml><Encrypt>&l8;</Encrypt></xml>',
    "x2 external file": '<!DOCTYPE xml [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml><Encrypt>&f;</Encrypt></xml>',
    "x2 external host": '<!DOCTYPE xml [<!ENTITY f SYSTEM "http://127.0.0.1:9/">]><xml><Encrypt>&f;</Encrypt></xml>',
    "x2 parameter entity": '<!DOCTYPE xml [<!ENTITY % p SYSTEM "http://127.0.0.1:9/">%p;]><xml><Encrypt>1</Encrypt></xml>',
    "x2 external DTD": '<!DOCTYPE xml SYSTEM "http://127.0.0.1:9/x.dtd"><xml><Encrypt>{0}</Encrypt></xml>',
    "x2 bare doctype": "<!DOCTYPE xml><xml><Encrypt>{0}</Encrypt></xml>",
    "x2 xinclude": '<xml><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/hostname"/><Encrypt>{0}</Encrypt></xml>',
    "x3 large attribute": '<xml a="{1}"><Encrypt>{0}</Encrypt></xml>',
    "x3 many elements": "<xml><Encrypt>{0}</Encrypt>" + "<a/>" * 200 + "</xml>",
    "x3 deep": "<xml><Encrypt>{0}</Encrypt>" + "<a>" * 16 + "</a>" * 16 + "</xml>",
    "x3 long comment": "<xml><!--{1}--><Encrypt>{0}</Encrypt></xml>",
    "x3 open cdata": "<xml><Encrypt><![CDATA[{0}</Encrypt></xml>",
    "x4 two": "<xml><Encrypt>{0}</Encrypt><Encrypt>{0}</Encrypt></xml>",
    "x4 case": "<xml><encrypt>{0}</encrypt></xml>",
    "x4 namespace": '<xml xmlns:w="urn:w"><w:Encrypt>{0}</w:Encrypt></xml>',
    "x4 default namespace": '<xml xmlns="urn:w"><Encrypt>{0}</Encrypt></xml>',
    "x4 not below the root": "<xml><a><Encrypt>{0}</Encrypt></a></xml>",
    "x4 escaped inside cdata": "<xml><Encrypt><![CDATA[&#65;{0}]]></Encrypt></xml>",
    "x4 other root": "<json><Encrypt>{0}</Encrypt></json>",
    "x5 utf-7": '<?xml version="1.0" encoding="UTF-7"?><xml><Encrypt>{0}</Encrypt></xml>',
    "x5 gbk declared": '<?xml version="1.0" encoding="GBK"?><xml><Encrypt>{0}</Encrypt></xml>',
    "instruction": '<?xml version="1.0"?><?go now?><xml><Encrypt>{0}</Encrypt></xml>',
    "cut": "<xml><Encrypt>{0}</Encrypt>",
    "empty": "",
    "json": '{"encrypt": "1"}',
    "w10 NUL": "<xml><Encrypt>{0}</Encrypt>\0</xml>",
}


@pytest.mark.parametrize("name", BODIES)
def test_x_an_envelope_that_is_not_as_the_vendor_writes_it_is_refused(name):
    body = BODIES[name].replace("{0}", SEALED).replace("{1}", "x" * 70_000)
    refused(post(SEALED, body=body.encode()), causes=ALIKE if body.startswith("<") else (Cause.INVALID,))


@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-7"])
def test_w10_x5_bytes_of_another_encoding_are_refused(encoding):
    body = f"<xml><ToUserName>企业</ToUserName><Encrypt>{SEALED}</Encrypt></xml>".encode(encoding)
    if encoding != "utf-7":  # all ASCII: "企业" is another text, no more
        refused(post(SEALED, body=body), causes=ALIKE if body.startswith(b"<") else (Cause.INVALID,))
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + body
    refused(post(SEALED, body=declared))


@pytest.mark.parametrize(
    "body",
    [
        f"<xml><Encrypt>{SEALED}</Encrypt></xml>",
        f"\ufeff<?xml version='1.0' encoding='utf-8'?>\r\n<xml>\n <Encrypt><![CDATA[{SEALED}]]></Encrypt>\n</xml>\n",
        f"<xml><Encrypt>{SEALED[:9]}<!-- no more than a remark -->{SEALED[9:]}</Encrypt><New>1</New></xml>",
        f"<xml><Encrypt>&#{ord(SEALED[0])};{SEALED[1:]}</Encrypt></xml>",
    ],
    ids=["text", "BOM, declaration, CDATA", "comment and unknown element", "character reference"],
)
def test_other_ways_to_write_the_same_envelope_mean_the_same(body):
    assert DOOR.receive(post(SEALED, body=body.encode())).events == DOOR.receive(post(SEALED)).events


def test_what_is_signed_and_encrypted_but_no_event_is_refused_alike():
    for inside in (b"{}", b"", b"<!DOCTYPE xml><xml/>", b"<xml><Event>a</Event><Event>b</Event></xml>"):
        refused(post(seal(inside)))


# ------------------------------------------------------------------------------------------- events


HINTS = {
    "change_external_contact/add_external_contact": [("contact", WM), ("follow", FOLLOW.id)],
    "change_external_contact/edit_external_contact": [("follow", FOLLOW.id)],
    "change_external_contact/del_external_contact": [("follow", FOLLOW.id)],
    "change_external_contact/del_follow_user": [("follow", FOLLOW.id)],
    "change_contact/create_user": [("user", "zhangsan")],
    "change_contact/update_user": [("user", "zhangsan")],
    "change_contact/delete_user": [("user", "zhangsan")],
}


def test_every_row_of_the_table_has_a_text_and_a_known_effect():
    assert {*HINTS, "sys_approval_change"} == {word for word, row in EVENTS.items() if row.make}
    assert all(row.zh and row.en for row in EVENTS.values())


@pytest.mark.parametrize("word", [word for word in EVENTS if word != "sys_approval_change"])
def test_an_event_has_the_effect_the_table_says(word):
    received = DOOR.receive(event(word, UserID="ZhangSan", ExternalUserID=WM, ChatId="wrX", Id="etX"))
    assert [(one.stream, one.key.id) for one in received.events] == HINTS.get(word, [])
    assert received.ignored == (None if word in HINTS else word)
    assert received.health == EVENTS[word].health
    assert (received.status, received.body) == (200, b"")
    assert all(one.type == word for one in received.events)


def test_what_wecom_says_of_the_app_is_told_until_it_takes_it_back():
    said = {word: row.health for word, row in EVENTS.items() if row.health}
    assert said.keys() == {
        "inactive_alert", "close_inactive_agent", "reopen_inactive_agent",
        "low_active_alert", "low_active", "active_restored",
    }  # fmt: skip
    well = {"reopen_inactive_agent": "app", "active_restored": "activity"}
    assert {word: one.about for word, one in said.items() if not one.en and not one.zh} == well
    assert "reopen it" in said["close_inactive_agent"].en
    assert {one.about for one in said.values()} == set(well.values())
    assert all(bool(one.zh) == bool(one.en) for one in said.values())


def test_a_customer_who_leaves_is_a_partial_record_of_the_follow():
    vector = VECTORS["computed"]["vectors"][1]
    (one,) = door_of(vector).receive(request_of(vector)).events
    record = one.record
    assert record is not None
    assert record.partial
    assert not record.deleted
    assert record.key == one.key == FOLLOW
    assert record.observed_at == 1_700_000_100 * SECOND
    assert record.body == {
        "userid": "ZhangSan",
        "external_userid": WM,
        "deleted_by_contact_at": 1_700_000_100,
    }


@pytest.mark.parametrize("created", ["0", "4102444800", "", "soon", "-1", "１７００００００００", "9" * 20])
def test_w18_a_time_that_cannot_be_is_left_for_a_person_and_does_not_date_the_record(created):
    (one,) = DOOR.receive(
        event("change_external_contact/del_follow_user", created=created, UserID="a", ExternalUserID=WM)
    ).events
    assert one.record is not None
    assert isinstance(one.record.body, dict)
    assert one.record.body["deleted_by_contact_at"] == created
    assert one.record.observed_at == NOW * SECOND


@pytest.mark.parametrize("created", ["0", "4102444800", "soon"])
def test_w18_the_time_of_a_hint_is_not_used(created):
    fields = {"UserID": "a", "ExternalUserID": WM}
    assert DOOR.receive(event(ADDED, created=created, **fields)).events


def test_a_removal_by_transfer_is_a_hint_like_any_other():
    word = "change_external_contact/del_external_contact"
    assert (
        len(DOOR.receive(event(word, UserID="a", ExternalUserID=WM, Source="DELETE_BY_TRANSFER")).events) == 1
    )


def test_an_employee_with_a_new_id_is_looked_at_under_both():
    received = DOOR.receive(event("change_contact/update_user", UserID="ZhangSan", NewUserID="zhangsan2"))
    assert [one.key.id for one in received.events] == ["zhangsan", "zhangsan2"]
    assert len({one.id for one in received.events}) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"UserID": "a"},
        {"ExternalUserID": WM},
        {"UserID": "a", "ExternalUserID": "a/b"},
        {"UserID": "", "ExternalUserID": WM},
    ],
)
def test_an_event_that_names_nobody_is_acknowledged_and_counted(fields):
    assert DOOR.receive(event(ADDED, **fields)) == Received(ignored=f"incomplete: {ADDED}")


@pytest.mark.parametrize(
    ("word", "ignored"),
    [
        ("change_external_contact/msg_audit_approved", "unknown: change_external_contact/msg_audit_approved"),
        ("x" * 300, "unknown: " + "x" * 100),
        ("a\nb", "unknown"),
    ],
)
def test_an_event_nobody_knows_is_acknowledged_and_counted(word, ignored):
    assert DOOR.receive(event(word)) == Received(ignored=ignored)


def test_what_nobody_reads_may_repeat_and_what_says_who_may_not():
    once = event_xml(ADDED)
    more = once.replace(b"</xml>", b"<Item>1</Item><Item>2</Item></xml>")
    assert [one.key for one in DOOR.receive(post(seal(more))).events] == [
        one.key for one in DOOR.receive(post(seal(once))).events
    ]
    for name in ("UserID", "ExternalUserID", "Event", "ChangeType", "CreateTime", "MsgType"):
        twice = f"<{name}>x</{name}><{name}>y</{name}></xml>".encode()
        refused(post(seal(once.replace(b"</xml>", twice))))


def test_w5_copies_of_an_event_have_one_id_whatever_their_nonce_and_line_ends():
    xml = event_xml(ADDED, UserID="a", ExternalUserID=WM)
    copies = [
        DOOR.receive(post(seal(content, prefix=prefix), nonce=nonce, timestamp=str(NOW + late)))
        for content, prefix, nonce, late in (
            (xml, b"a" * 16, "1", 0),
            (xml + b"\r\n", b"b" * 16, "2", 5),
            (b"\n" + xml, b"c" * 16, "3", 9),
        )
    ]
    assert len({one.id for received in copies for one in received.events}) == 2


def test_two_events_of_one_second_have_two_ids():
    first, second = (
        DOOR.receive(event(ADDED, UserID="a", ExternalUserID=f"wm{number}")) for number in (1, 2)
    )
    assert {one.id for one in first.events}.isdisjoint(one.id for one in second.events)
    assert all(len(one.id) <= 128 for one in first.events)


def test_an_event_with_many_members_inside_is_understood():
    items = "".join(f"<Item>wm{number}</Item>" for number in range(500))
    xml = event_xml("change_external_chat/update", ChatId="wr1").replace(
        b"</xml>", f"<MemChangeList>{items}</MemChangeList></xml>".encode()
    )
    assert DOOR.receive(post(seal(xml))) == Received(ignored="change_external_chat/update")


def test_receiving_twice_gives_the_same():
    request = event(ADDED, UserID="a", ExternalUserID=WM)
    assert DOOR.receive(request) == DOOR.receive(request)
