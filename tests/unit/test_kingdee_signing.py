"""Golden vectors: made with openssl from the fact sheet (1.3) and equal to the official Python SDK 8.2.0's headers."""

from __future__ import annotations

import pytest

from connectors.kingdee.signing import Signer, client_key

APP_ID = "226543_7Zdq0ewKVvHf5yxsSZQNC9UMRBWZ4xkK"
APP_SECRET = "5f0e3c1a9b7d24681357ace086429bdf"
SAVE = "/k3cloud/Kingdee.BOS.WebApi.ServicesStub.DynamicFormService.Save.common.kdsvc"


def signer(app_id: str = APP_ID, org_num: str = "100") -> Signer:
    return Signer(
        acct_id="64a1f0c2b7d3e9",
        user_name="集成用户",
        app_id=app_id,
        app_secret=APP_SECRET,
        lcid=2052,
        org_num=org_num,
    )


def test_the_client_secret_is_unlocked_from_the_app_id():
    assert client_key(APP_ID) == ("226543", "3adf5Yo5b8a80R5ffac6M7c8fXb41H05")


@pytest.mark.parametrize(
    ("app_id", "client_id"),
    [
        ("226543", ""),
        ("226543_short", "226543"),
        ("a_b_c", ""),
        (f"226543_{'!' * 32}", "226543"),
        ("1_" + "中" * 32, "1"),
    ],
)
def test_an_app_id_of_another_form_has_no_client_secret(app_id: str, client_id: str):
    assert client_key(app_id) == (client_id, "")


def test_the_headers_are_those_of_the_official_sdk():
    assert dict(signer().headers(SAVE, 1767225600)) == {
        "X-Api-ClientID": "226543",
        "X-Api-Auth-Version": "2.0",
        "x-api-timestamp": "1767225600",
        "x-api-nonce": "1767225600",
        "x-api-signheaders": "x-api-timestamp,x-api-nonce",
        "X-Api-Signature": "MmQyMGEwNWM3YWZjYjg4NTY4ZWZhMGJjYWI0MzkxZGM5ZTQzM2RiNmQ1ZWYyZGNkNmE2NWU1YjJiYTM4ZDM1Yw==",
        "X-Kd-Appkey": APP_ID,
        "X-Kd-Appdata": "NjRhMWYwYzJiN2QzZTks6ZuG5oiQ55So5oi3LDIwNTIsMTAw",
        "X-Kd-Signature": "MGNjMmE4M2I2NTQwOTUyN2IwMzczOGU0MWJiMjhlNDk4YTllOWIxZmIyMTY1Yjg4ZDgxOWU4MWNkNmQ0YmNiZA==",
    }


def test_an_app_id_without_secret_is_signed_with_an_empty_key_as_the_sdk_does():
    headers = signer("226543_short", "0").headers(SAVE, 1767225600)
    assert headers["X-Api-ClientID"] == "226543"
    assert headers["X-Api-Signature"] == (
        "Y2I1MmMzM2FjMGMxOWQyOWExNzZhMzRjZmI4NTJjNmMxMDQ1MTEyYmI0YjM2NzcwNmMyY2EzNDYyNDY0NGUzMw=="
    )
    assert headers["X-Kd-Signature"] == (
        "MzgzOGQ1NjZiMTFjNGU5MDYwZDUwOWUxZTEzNTI1NDRiYmQ1YWQzOWE2MjQ0YThhMDg5Njk3NDZmYjFjODVjOQ=="
    )


def test_the_signature_moves_with_path_and_time_and_the_key_signature_does_not():
    first, later = signer().headers(SAVE, 1767225600), signer().headers(SAVE, 1767225601)
    other = signer().headers(SAVE.replace("/k3cloud/", "/K3Cloud/"), 1767225600)
    assert len({headers["X-Api-Signature"] for headers in (first, later, other)}) == 3
    assert first["X-Kd-Signature"] == later["X-Kd-Signature"] == other["X-Kd-Signature"]
