"""The command line: what an operator sees and does, by exit code, in both languages, beside a running hub."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from hub.cli.texts import TEXTS, language
from hub.model.record import Scope
from hub.pipe.queries import Filters, dead_letters
from tests.flows.cli_site import NAME, ROOT, Site, lose, make_site, refuse
from tests.stores import ask

ODD = "\x1b[31m[bold red]甲公司[/bold red]\u202e"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def _refused(site: Site, **body: Any) -> tuple[str, str]:
    """Have Kingdee refuse a receipt; return the dead letter and the payment."""
    payment = site.pay(site.customer(), **body)
    site.work(refuse("receipt"))
    (letter,) = site.letters()
    return letter["id"], payment


# repairing ----------------------------------------------------------------------------------------------------


def test_a_refused_receipt_is_edited_and_delivered(site: Site) -> None:
    row, payment = _refused(site)
    told = site.cli("dlq", "edit", row, "remark=定金")
    assert "scheduled" in told
    site.work()
    assert site.letters() == []
    assert [write.payload["FREMARK"] for write in site.kingdee.booked if write.object == "receipt"] == [
        "定金"
    ]
    assert "nothing is owed" in site.cli("trace", payment)
    assert site.ask("SELECT actor FROM acts WHERE verb = 'edit'")[0][0].startswith("user:")


def test_a_refused_receipt_is_replayed_and_delivered(site: Site) -> None:
    row, _ = _refused(site)
    assert site.json("dlq", "replay", row) == {"ok": True, "row": row, "state": "ready", "syncs": []}
    site.work()
    assert [write.object for write in site.kingdee.booked].count("receipt") == 1


def test_everything_that_matches_is_replayed_only_on_purpose(site: Site) -> None:
    customer = site.customer()
    for number in range(3):
        site.pay(customer, f"P-{number}", no=f"PAY-{number}")
    site.work(refuse("receipt"))
    assert "--yes" in site.cli("dlq", "replay", "--all", code=2)
    assert "--all" in site.cli("dlq", "replay", code=2)
    assert site.cli("dlq", "replay", "--all", "--cause", "not_found", "--yes").strip() == "0 replayed"
    assert site.cli("dlq", "replay", "--all", "--sync", "k3.payment.out", "--yes").strip() == "3 replayed"
    site.work()
    assert [write.object for write in site.kingdee.booked].count("receipt") == 3


def test_a_letter_says_why_where_to_repair_it_and_the_next_command(site: Site) -> None:
    payment = site.pay(site.customer(), account_no="NOPE")
    site.work(refuse("receipt", "FSETTLETYPEID"))
    row = site.letters()[0]["id"]
    shown = site.json("dlq", "show", row)
    assert (shown["record"], shown["title"], shown["state"]) == (payment, "PAY-1", "failed")
    assert shown["cause"] | {"at": None} == {
        "code": "invalid", "zh": "对方系统拒绝了数据", "en": "the other system refused the data", "message": "not like this",
        "vendor_code": "9", "field": "FSETTLETYPEID", "at": None, "candidates": [], "refs": [], "blocked_by": None,
        "why": "invalid",
    }  # fmt: skip
    lines = (ROOT / "mappings/kingdee/payment.out.yaml").read_text("utf-8").splitlines()
    assert shown["made_by"]["file"] == "mappings/kingdee/payment.out.yaml"
    assert "FSETTLETYPEID.FNumber" in lines[shown["made_by"]["line"] - 1]
    assert shown["made_by"]["fields"] == ["method"]
    assert shown["fix"] == "record"
    assert shown["next"] == [f"hub dlq edit {row} method=VALUE", f"hub dlq replay {row}"]
    text = site.cli("dlq", "show", row)
    for said in (
        "the other system refused the data",
        "not like this",
        "FSETTLETYPEID",
        "correct its data",
        shown["next"][0],
    ):
        assert said in text
    assert "对方系统拒绝了数据" in site.cli("--lang", "zh", "dlq", "show", row)


@pytest.mark.parametrize(
    ("cause", "name", "fix"),
    [
        ("not_found", "FSETTLETYPEID", "value_map"),
        ("not_found", "FACCOUNTID", "vendor"),
        ("period_closed", "FDATE", "period"),
    ],
)
def test_where_the_fix_belongs_follows_cause_and_field(site: Site, cause: str, name: str, fix: str) -> None:
    from hub.errors import Cause

    site.pay(site.customer(), account_no="NOPE")
    site.work(refuse("receipt", name, next(one for one in Cause if one.value == cause)))
    assert site.letters()[0]["fix"] == fix


def test_a_refused_customer_shows_the_receipts_it_blocks(site: Site) -> None:
    customer = site.customer()
    payments = [site.pay(customer, f"P-{number}", no=f"PAY-{number}") for number in range(2)]
    site.work(refuse("customer", "FSOCIALCRECODE"))
    (letter,) = site.letters()
    shown = site.json("dlq", "show", letter["id"])
    assert shown["blocked_count"] == 2
    assert sorted(one["title"] for one in shown["blocked"]) == ["PAY-0", "PAY-1"]
    assert "PAY-1" in site.cli("dlq", "show", letter["id"])
    traced = site.json("trace", payments[0])
    assert traced["owed"][0]["state"] in ("waiting", "blocked")
    assert [(row["sync"], row["state"]) for row in traced["blocked_by"]] == [("k3.customer.out", "failed")]


def test_a_row_whose_write_is_unanswered_is_not_discarded(site: Site) -> None:
    row = _unanswered(site)
    assert "resolve it first" in site.cli("dlq", "discard", row, "--reason", "enough", code=1)
    assert len(site.letters()) == 1


def _unanswered(site: Site) -> str:
    """Leave a receipt as a long outage does: sent, no answer, nobody could be asked."""
    site.pay(site.customer())
    site.work(lose("receipt"))
    site.ask(
        "UPDATE owed SET state = 'parked', cause = ? WHERE sync = 'k3.payment.out'", '{"code":"doubt","at":1}'
    )
    return site.letters()[0]["id"]


def test_nobody_resolves_before_the_last_moment_a_send_may_take_effect(site: Site) -> None:
    row = _unanswered(site)
    words = ("--applied", "100777", "--number", "SKD777", "--evidence", "seen in the ledger")
    assert "may still take effect" in site.cli("dlq", "resolve", row, *words, code=1)
    shown = site.cli("dlq", "show", row)
    assert "it may be resolved after" in shown
    assert f"hub dlq resolve {row} --not-applied" in shown
    site.ask("UPDATE owed SET absent_after = 1 WHERE sync = 'k3.payment.out'")
    assert "settled" in site.cli("dlq", "resolve", row, *words)
    found = site.json("trace", "P-1")
    assert ("k3", "100777", "SKD777") in [
        (one["connection"], one["id"], one["number"]) for one in found["identities"]
    ]
    assert found["hops"][-1]["known"]["evidence"] == "seen in the ledger"
    assert "SKD777" in site.cli("trace", "k3/100777")


def test_a_resolve_has_one_answer(site: Site) -> None:
    row = _unanswered(site)
    assert "--not-applied" in site.cli("dlq", "resolve", row, "--evidence", "x", code=2)
    both = ("--applied", "1", "--not-applied", "--evidence", "x")
    site.cli("dlq", "resolve", row, *both, code=2)


def test_a_discard_is_kept_with_its_reason_and_who_said_so(site: Site) -> None:
    row, payment = _refused(site)
    assert row in site.cli("dlq", "discard", row, "--reason", "entered twice")
    hop = site.json("trace", payment)["hops"][-1]
    assert (hop["outcome"], hop["known"]["reason"]) == ("discarded", "entered twice")
    assert hop["actor"].startswith("user:")
    site.cli("dlq", "discard", row, "--reason", "again", code=3)


def test_a_candidate_is_shown_and_chosen(site: Site) -> None:
    mine = site.put("customer", "C-1", name=NAME, entity="demo").record_id.hex()
    site.put("customer", "C-2", name=NAME, entity="demo", street="深圳")
    (letter,) = site.letters()
    assert letter["fix"] == "identity"
    shown = site.json("dlq", "show", letter["id"])
    assert shown["candidate_titles"] == {mine: NAME}
    assert shown["source"]["body"]["street"] == "深圳"
    assert shown["next"] == [f"hub dlq choose {letter['id']} {mine}", f"hub dlq choose {letter['id']} new"]
    assert site.json("trace", "C-2")["owed"][0]["cause"]["candidates"] == [mine]
    site.cli("dlq", "choose", letter["id"], "f" * 32, code=1)
    site.cli("dlq", "choose", letter["id"], mine)
    site.work()
    assert [one["id"] for one in site.json("trace", "C-2")["identities"] if one["connection"] == "crm"] == [
        "C-1",
        "C-2",
    ]


def test_an_edit_takes_values_json_and_removals(site: Site) -> None:
    row, payment = _refused(site, account_no="NOPE")
    site.cli("dlq", "edit", row, "remark=a=b", 'custom.batch:={"no": 7}', "--unset", "account_no")
    found = site.ask("SELECT body FROM records WHERE id = ?", bytes.fromhex(payment))
    body = json.loads(found[0][0])
    assert (body["remark"], body["custom.batch"], "account_no" in body) == ("a=b", {"no": 7}, False)


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        (["remark"], 2, "FIELD=value"),
        (["custom.x:={"], 2, "JSON"),
        (["remrak=x"], 1, "remrak"),
        (["amount=viel"], 1, "amount"),
        ([], 1, "fields"),
    ],
)
def test_an_edit_that_does_not_fit_says_why(site: Site, fields: list[str], code: int, said: str) -> None:
    row, _ = _refused(site)
    assert said in site.cli("dlq", "edit", row, *fields, code=code)
    assert len(site.letters()) == 1


# looking ------------------------------------------------------------------------------------------------------


def test_a_trace_shows_every_hop_with_its_time(site: Site) -> None:
    row, payment = _refused(site)
    site.cli("dlq", "edit", row, "remark=定金")
    site.work()
    found = site.json("trace", "P-1")
    assert found["record"]["id"] == payment
    outcomes = [hop["outcome"] for hop in found["hops"]]
    assert outcomes == [
        "created", "owed", "waiting", "claimed", "park", "parked", "changed", "owed", "edited", "claimed", "agree",
    ]  # fmt: skip
    times = [hop["at"] for hop in found["hops"]]
    assert times == sorted(times)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", at) for at in times)
    assert [hop["after_seconds"] is None for hop in found["hops"]] == [True] + [False] * (len(times) - 1)
    assert all(hop["after_seconds"] >= 0 for hop in found["hops"][1:])
    shown = site.cli("trace", "crm/P-1", "--values")
    for said in (
        "record created",
        "delivered, both sides agree",
        "edited by a person",
        "remark: 定金",
        "worker:w1",
    ):
        assert said in shown
    assert "已送达并一致" in site.cli("--lang=zh", "trace", payment)


def test_a_record_is_found_by_any_of_its_ids(site: Site) -> None:
    customer = site.customer()
    site.work()
    ids = [one["id"] for one in site.json("trace", customer)["identities"]]
    for id_ in (customer, customer.upper(), "C-1", "crm/C-1", *ids, "91440300708461136T", NAME):
        assert site.json("trace", id_)["record"]["id"] == customer


def test_status_counts_by_state_and_names_causes(site: Site) -> None:
    customer = site.customer()
    site.pay(customer, "P-1")
    site.work(refuse("receipt"))
    site.pay(customer, "P-2", no="PAY-2")
    found = site.json("status")
    k3 = next(one for one in found["connections"] if one["name"] == "k3")
    receipts = next(one for one in k3["syncs"] if one["name"] == "k3.payment.out")
    counts = {state: count for state, count in receipts["counts"].items() if count}
    assert counts == {"scheduled": 1, "failed": 1}
    assert receipts["parked_by_cause"] == {"invalid": 1}
    assert found["audit"]["unsealed"] > 0
    shown = site.cli("status")
    assert "1 × the other system refused the data" in shown
    assert "hub dlq list --sync k3.payment.out --cause invalid" in shown


def test_what_is_owed_to_a_sync_that_was_removed_says_so_and_what_to_do(site: Site) -> None:
    site.customer()
    site.ask("UPDATE owed SET sync = 'k3.old.out' WHERE sync = 'k3.customer.out'")
    (stray,) = site.json("status")["strays"]
    assert (stray["name"], stray["mode"]) == ("k3.old.out", "removed")
    shown = site.cli("status")
    assert "not in hub.yaml" in shown
    assert "put it back and run hub dlq replay --sync k3.old.out" in " ".join(shown.split())


def test_a_paused_sync_and_connection_show_in_status(site: Site) -> None:
    site.customer()
    assert "hub resume k3" in site.cli("pause", "k3")
    site.cli("pause", "k3.customer.out")
    k3 = next(one for one in site.json("status")["connections"] if one["name"] == "k3")
    assert (k3["state"], k3["cause"], k3["until"]) == ("paused", "operator", None)
    assert [one["paused"] for one in k3["syncs"] if one["name"] == "k3.customer.out"] == [True]
    site.work()
    assert site.kingdee.booked == []
    site.cli("resume", "k3")
    site.cli("resume", "k3.customer.out")
    site.work()
    assert site.kingdee.booked != []


def test_a_thousand_dead_letters_take_a_handful_of_statements(site: Site) -> None:
    with site.hub() as hub:
        hub.store.run_now(_thousand)
        few, many = (hub.store.read_now(_counted, hub.world, limit) for limit in (10, 1000))
    assert few[1] == 10
    assert many[1] == 1000
    assert many[0] <= few[0] + 4  # bound variables come in parts, rows do not
    assert len(site.letters("--limit", "1000")) == 1000


def _thousand(tx: Any) -> None:
    columns = "id, sync, subject, connection, target, lane, state, due, want, attempts, deaths, step, cause, act, since"
    for number in range(1000):
        subject = number.to_bytes(16, "big").hex()
        ask(tx, f"INSERT INTO owed ({columns}) VALUES (?, 'k3.customer.out', ?, 'k3', ?, 1, 'parked', 0, 1, 1, 0, 0, ?, 1, ?)",
            (number + 1).to_bytes(16, "big"), subject, f"k3/customer/100/{subject}", '{"code":"invalid","at":1}', number)  # fmt: skip


def _counted(tx: Any, world: Any, limit: int) -> tuple[int, int]:
    """Return how many statements a listing takes, and how many rows it gives."""

    class Counting:
        count = 0

        def __init__(self, cursor: Any) -> None:
            self.cursor = cursor

        def execute(self, *args: Any) -> Any:
            Counting.count += 1
            return self.cursor.execute(*args)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.cursor, name)

    tx.cursor = Counting(tx.cursor)
    page = dead_letters(tx, world, Scope.ALL, Filters(limit=limit))
    return Counting.count, len(page.rows)


def test_pages_of_dead_letters_follow_one_another(site: Site) -> None:
    with site.hub() as hub:
        hub.store.run_now(_thousand)
        seen, after = [], (0, b"")
        while after is not None:
            page = hub.store.read_now(dead_letters, hub.world, Scope.ALL, Filters(after=after, limit=300))
            seen += [row.id for row in page.rows]
            after = page.after
    assert len(seen) == len(set(seen)) == 1000
    assert "there are more" in site.cli("dlq", "list", "--limit", "10")


# bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ["trace", "nobody"],
        ["trace", "0" * 32],
        ["dlq", "show", "0" * 32],
        ["dlq", "show", "C-1"],
        ["dlq", "replay", "0" * 32],
        ["dlq", "edit", "zz", "a=b"],
        ["dlq", "discard", "0" * 32, "--reason", "x"],
        ["dlq", "choose", "0" * 32, "new"],
        ["dlq", "resolve", "0" * 32, "--not-applied", "--evidence", "x"],
        ["pause", "nobody"],
        ["resume", "api:x"],
        ["run", "nobody"],
        ["check", "nobody"],
        ["sandbox", "nobody"],
        ["mapping", "test", "nowhere.yaml"],
        ["audit", "verify", "nowhere.db"],
    ],
    ids=" ".join,
)
def test_what_is_not_there_ends_with_3_and_a_sentence(site: Site, args: list[str]) -> None:
    site.customer()
    told = site.cli(*args, code=3)
    assert 10 < len(told.strip()) < 300
    assert "Traceback" not in told
    told = site.json(*args, code=3)
    assert (told["ok"], told["exit"]) == (False, 3)


@pytest.mark.parametrize(
    "args",
    [
        ["dlq", "list", "--cause", "nonsense"],
        ["dlq", "list", "--limit", "0"],
        ["status", "--output", "xml"],
        ["status", "--lang", "fr"],
        ["dlq", "discard", "0" * 32],
        ["run", "k3.payment.out"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_a_wrong_use_ends_with_2(site: Site, args: list[str]) -> None:
    site.customer()
    assert "Traceback" not in site.cli(*args, code=2)


def test_without_a_store_a_command_says_so_and_makes_none(site: Site) -> None:
    assert "hub up" in site.cli("status", code=2)
    assert not site.data.exists()


def test_a_broken_project_names_file_line_and_field(site: Site) -> None:
    site.customer()
    file = site.folder / "hub.yaml"
    file.write_text(file.read_text("utf-8").replace("accept_window:", "accept_widnow:"), "utf-8")
    line = next(
        n for n, text in enumerate(file.read_text("utf-8").splitlines(), 1) if "accept_widnow" in text
    )
    told = site.cli("validate", code=1)
    assert f"hub.yaml:{line}:" in told
    assert "accept_window" in told  # the nearest known name
    found = site.json("validate", code=1)["problems"]
    assert ("hub.yaml", line) in [(one["file"], one["line"]) for one in found]
    told = site.cli("status", code=2)
    assert f"hub.yaml:{line}:" in told
    assert "Traceback" not in told


def test_an_address_in_use_is_named_before_anything_is_opened(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("HUB_LISTEN_OPS", address)
        told = site.cli("up", code=2)
    assert address in told
    assert "HUB_LISTEN_OPS" in told
    assert not site.data.exists()


def test_a_sound_project_is_valid(site: Site) -> None:
    assert site.cli("validate").strip() == "valid: 3 connections, 7 syncs"
    assert site.json("validate")["ok"] is True


def test_nothing_in_a_name_is_obeyed_by_the_terminal(site: Site) -> None:
    customer = site.customer(name=ODD)
    site.work(refuse("customer", "[/red]\x1b[2J"))
    row = site.letters()[0]["id"]
    outputs = [
        site.cli("dlq", "list"),
        site.cli("dlq", "show", row),
        site.cli("trace", customer, "--values"),
        site.cli("dlq", "show", row, "--output", "json"),
        site.cli("trace", "\x1b[31mnobody", code=3),
    ]
    for output in outputs:
        assert not set(output) & {"\x1b", "\u202e", "\x07"}
    for output in outputs[:3]:
        assert r"\x1b[31m[bold red]甲公司[/bold red]\u202e" in output
    assert json.loads(outputs[3])["title"] == ODD


def test_the_language_follows_the_option_then_the_environment() -> None:
    assert language(["trace", "--lang", "zh"], {"LANG": "en_US.UTF-8"}) == "zh"
    assert language(["--lang=en"], {"LANG": "zh_CN.UTF-8"}) == "en"
    assert language([], {"LANG": "zh_CN.UTF-8"}) == "zh"
    assert language([], {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}) == "en"
    assert language([], {}) == "en"


def test_every_text_is_there_in_both_languages() -> None:
    for key, (zh, en) in TEXTS.items():
        assert re.search("[\u4e00-\u9fff]", zh) or zh == en, key
        assert not re.search("[\u4e00-\u9fff]", en), key
        assert sorted(re.findall(r"{(\w+)}", zh)) == sorted(re.findall(r"{(\w+)}", en)), key


# secrets, mappings, audit -------------------------------------------------------------------------------------


def test_a_secret_goes_in_and_never_comes_out(site: Site) -> None:
    value = "very-secret-value"
    outputs = [
        site.cli("secrets", "set", "k3-app-secret", "--stdin", given=f"{value}\n"),
        site.cli("secrets", "set", "k3-app-secret", given=f"{value}\n"),
        site.cli("secrets", "list"),
        site.cli("secrets", "list", "--output", "json"),
        str(site.ask("SELECT actor, verb, body FROM acts")),
    ]
    assert not any(value in output for output in outputs)
    assert "version 2" in outputs[1]
    assert [one["name"] for one in json.loads(outputs[3])["secrets"]] == ["k3-app-secret"] * 2
    assert not any(value.encode() in path.read_bytes() for path in site.data.iterdir())
    with site.hub() as hub:
        assert _secret(hub, "k3-app-secret") == value


def _secret(hub: Any, name: str) -> str:
    from hub.store.secrets import get_secret

    return hub.store.read_now(get_secret, hub.vault, name).value.decode()


@pytest.mark.parametrize("name", ["UPPER", "hub.vault", "", "a b", "x" * 81, "../key"])
def test_a_secret_has_a_name_that_settings_can_refer_to(site: Site, name: str) -> None:
    site.cli("secrets", "set", "--stdin", "--", name, code=2, given="x")


def test_an_empty_secret_is_refused(site: Site) -> None:
    site.cli("secrets", "set", "token", "--stdin", code=2, given="\n")


def test_after_a_rotation_old_secrets_open_under_the_new_key(site: Site) -> None:
    site.cli("secrets", "set", "token", "--stdin", given="one")
    before = site.json("secrets", "list")["secrets"][0]["key"]
    assert site.json("secrets", "rotate")["key_version"] == 2
    assert site.json("secrets", "rotate", "--reseal")["resealed"] == 1
    keys = {one["version"]: one["key"] for one in site.json("secrets", "list")["secrets"]}
    assert keys[1] == before
    assert keys[2].startswith("2-")
    with site.hub() as hub:
        assert _secret(hub, "token") == "one"


def test_mappings_are_checked_and_their_cases_run(site: Site) -> None:
    assert "0 failed" in site.cli("mapping", "test")
    shipped = [
        file for file in (site.folder / "mappings").rglob("*.yaml") if file.stem.endswith((".in", ".out"))
    ]
    assert site.cli("mapping", "check").count(": ok\n") == len(shipped)
    file = site.folder / "mappings/kingdee/customer.out.yaml"
    text = file.read_text("utf-8")
    file.write_text(text.replace("FNumber: account_no or business_key()", "FNumber: business_key()"), "utf-8")
    told = site.cli("mapping", "test", str(file), code=1)
    assert "customer.out.tests.yaml:" in told
    assert site.json("mapping", "test", code=1)["ok"] is False
    file.write_text(text.replace("trim(name)", "trim(nmae)", 1), "utf-8")
    told = site.cli("mapping", "check", str(file), code=1)
    assert "customer.out.yaml:" in told
    assert "'name'" in told


def test_an_audit_that_is_whole_verifies_and_a_flipped_byte_is_found(site: Site) -> None:
    from hub import wiring
    from hub.audit.seal import Signer, seal

    _refused(site)
    with site.hub() as hub:
        signer = Signer.open(hub.store, hub.vault, site.data)
        hub.store.run_now(seal, signer)
    assert (site.data / wiring.PUBLIC_KEY).exists()
    assert site.json("audit", "verify")["ok"] is True
    assert "intact" in site.cli("audit", "verify")
    export = site.folder / "acts.jsonl"
    assert "lines exported" in site.cli("audit", "export", "--to", str(export))
    assert site.json("audit", "verify", str(export))["ok"] is True
    text = export.read_text("utf-8")
    export.write_text(text.replace('"verb":"put"', '"verb":"cut"', 1), "utf-8")
    assert "DAMAGED" in site.cli("audit", "verify", str(export), code=1)
    assert site.json("audit", "verify", str(export), code=1)["damage"]["kind"]


def test_each_command_is_registered_by_the_module_that_the_table_names_and_by_no_other() -> None:
    import importlib

    import typer
    from typer.main import get_group

    from hub.cli.app import COMMANDS

    for module in set(COMMANDS.values()):
        made = typer.Typer()
        importlib.import_module(f"hub.cli.{module}").register(made, "en")
        assert set(get_group(made).commands) == {name for name, where in COMMANDS.items() if where == module}


@pytest.mark.slow
def test_a_command_imports_no_other_command_s_module() -> None:
    code = (
        "import sys; from hub.cli.app import build; build('en')(['pause', '--help'], standalone_mode=False); "
        "print([name for name in sys.modules if name in ('hub.demo', 'hub.api.serve', 'fastapi')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told() -> None:
    from typer.testing import CliRunner

    from hub.cli.app import build

    result = CliRunner().invoke(build("en"), ["--version"])
    assert (result.exit_code, result.output.split()[0]) == (0, "hub")


# real processes -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_commands_act_on_the_store_of_a_running_hub(site: Site) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    site.cli("secrets", "set", "api-token", "--stdin", given="t" * 40)
    running = site.spawn("up", "--output", "json", HUB_LISTEN_OPS=f"127.0.0.1:{port}",
                         HUB_LISTEN_HOOKS="127.0.0.1:0")  # fmt: skip
    try:
        assert running.stdout is not None
        ready = json.loads("".join(iter(running.stdout.readline, "}\n")) + "}")
        for id_ in ("C-1", "C-2"):
            _put(f"{ready['url']}/api/v1/customers/by-external/crm/{id_}", {"name": NAME})
        (letter,) = site.letters()
        choosing = site.spawn("dlq", "choose", letter["id"], "new")
        _, err = choosing.communicate(timeout=60)
        assert choosing.returncode == 0, err
        _until(lambda: site.letters() == [] and len(site.json("trace", "C-2")["identities"]) == 1)
        hops = site.json("trace", "C-2")["hops"]
        assert hops[0]["outcome"] == "created"
        assert site.json("status")["audit"]["sealed"] > 0
    finally:
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "Traceback" not in out + err


def _put(url: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")
    request.add_header("Authorization", f"Bearer {'t' * 40}")
    request.add_header("Content-Type", "application/json")
    with contextlib.suppress(urllib.error.HTTPError):  # the second one is held for a person
        urllib.request.urlopen(request, timeout=10).close()


def _until(condition: Any) -> None:
    for _ in range(60):
        if condition():
            return
    raise AssertionError("it did not come to that")


@pytest.mark.slow
def test_a_connection_is_checked_against_a_sandbox_of_its_own_process(tmp_path: Path) -> None:
    starting = Site(tmp_path).spawn("sandbox", "kingdee", "--port", "0", "--output", "json")
    try:
        assert starting.stdout is not None
        about = json.loads(starting.stdout.readline())
        assert {"base_url", "credentials", "control_url", "ledger"} == set(about)
        (tmp_path / "p").mkdir()
        site = make_site(tmp_path / "p", url=about["base_url"])
        assert "hub secrets set" in site.cli("check", "k3", code=2)
        for name in ("acct_id", "user_name", "app_id", "app_secret"):
            site.cli(
                "secrets", "set", f"k3-{name.replace('_', '-')}", "--stdin", given=about["credentials"][name]
            )
        assert "the connection k3 works" in site.cli("check", "k3")
        assert site.json("run", "k3.customer.in")["pages"] >= 1
        site.cli("secrets", "set", "k3-app-secret", "--stdin", given="0" * 32)
        assert site.json("check", "k3", code=1)["ok"] is False
    finally:
        starting.send_signal(signal.SIGINT)
        _, err = starting.communicate(timeout=60)
    assert "Traceback" not in err
