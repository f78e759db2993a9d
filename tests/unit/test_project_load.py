"""hub.yaml as a person writes it: read into values, or refused with file, line and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub import registry
from hub.errors import SettingsError
from hub.project import (
    LANE_LIVE,
    LANE_MONEY,
    Admission,
    ProjectInvalid,
    Retry,
    load_project,
    publish_revisions,
    resolve,
    secret_names,
)
from hub.secret import Secret
from hub.store import Store
from tests.project_folder import HUB_YAML, SPEC, load, write_project
from tests.stores import any_store, ask

__all__ = ["any_store"]  # fixture

ROOT = Path(__file__).resolve().parents[2]


def problems_of(root: Path, hub_yaml: str, **mappings: str) -> list[str]:
    with pytest.raises(ProjectInvalid) as caught:
        load(write_project(root, hub_yaml, **mappings))
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem) for problem in caught.value.problems]


def bent(old: str, new: str) -> str:
    assert HUB_YAML.count(old) >= 1, old
    return HUB_YAML.replace(old, new, 1)


def line_of(text: str, needle: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if needle in line)


def test_a_whole_project_is_read_into_values(tmp_path: Path) -> None:
    project = load(write_project(tmp_path))
    out, read, bill = (project.sync(name) for name in ("erp.client.out", "erp.client.in", "erp.bill.out"))
    assert out
    assert read
    assert bill
    assert (out.direction, out.object, out.stream, out.kind, out.mode) == (
        "out",
        "client",
        None,
        "customer",
        "write",
    )
    assert (out.org, out.lane, out.stop_at, out.admission) == (
        "100",
        LANE_LIVE,
        "saved",
        Admission(("name", "uscc")),
    )
    assert (read.direction, read.object, read.stream, read.schedule) == ("in", "client", "client", 300.0)
    assert (bill.mode, bill.lane, bill.admission, bill.retry) == ("observe", LANE_MONEY, None, Retry())
    assert project.syncs_out("payment") == (bill,)
    assert project.sync_in("erp", "client") is read
    assert project.region_of("crm", "li.lei") == "cn/south/"
    assert project.region_of("crm", None) == "cn/south/"
    assert project.connections["crm"].kind == "api"
    assert [rule.fields for rule in project.rules("customer").match] == [("uscc",), ("name",)]


def test_money_that_is_gone_at_the_vendor_is_left_to_a_person_and_never_booked_again() -> None:
    project = load_project(ROOT, registry.specs())
    assert project.syncs["k3.payment.out"].on_missing == "park"
    assert project.syncs["k3.customer.out"].on_missing == "recreate"


def test_the_repository_itself_is_a_project_that_loads() -> None:
    project = load_project(ROOT, registry.specs())
    assert {name for name in project.syncs if name.startswith("k3.")} == {
        "k3.customer.out",
        "k3.customer.in",
        "k3.payment.out",
    }
    assert {"wecom.contact.in", "wecom.follow.in", "wecom.follow.out"} <= set(project.syncs)
    assert {sync.mode for sync in project.syncs.values()} == {"write"}
    assert project.syncs["k3.customer.out"].stop_at == "audited"
    assert project.syncs["k3.payment.out"].lane == LANE_MONEY
    assert project.connections["k3"].outbound.private[0].plain_http


@pytest.mark.parametrize(
    ("old", "new", "where", "message"),
    [
        ("regions:", "region:", "region:", "unknown key 'region'; known here"),
        ("connector: acme", "connector: acm", "connector: acm", "there is no installed connector 'acm'; did you mean 'acme'?"),
        ("    settings:", "    setings:", "setings", "unknown key 'setings'; known here: allow, ca_file, connector"),
        ("    mode: write", "    mode: wite", "wite", "'wite' is not one of observe, write; did you mean 'write'?"),
        ("    mode: write", "    moed: write", "moed", "did you mean 'mode'?"),
        ("version: 1", "version: 2", "version", "this program reads version 1"),
        ("version: 1", "", "regions", "version is missing"),
        ("url: https://erp.example.com/api", "ulr: https://erp.example.com/api", "ulr", "did you mean 'url'?"),
        ("url: https://erp.example.com/api", "url: http://erp.example.com/api", "url:", "https only"),
        ("url: https://erp.example.com/api", "url: https://10.0.0.1/api", "url:", "needs a private entry"),
        ("${secret:erp-key}", "s3cret", "key:", "a secret never stands in hub.yaml"),
        ("${secret:erp-key}", "x${secret:erp-key}", "key:", "is no reference"),
        ("${secret:erp-key}", "${secret:ERP KEY}", "key:", "is no reference"),
        ("${secret:erp-key}", "${file:/etc/passwd}", "key:", "is no reference"),
        ("      key: ${secret:erp-key}", "      size: many\n      key: ${env:K}", "size", "a whole number is expected"),
        ("      key: ${secret:erp-key}\n", "", "settings", "key is missing"),
        ("target: erp.client", "target: erp.clent", "erp.clent", "acme has no object to write 'clent'; did you mean 'client'?"),
        ("target: erp.client", "target: erb.client", "erb", "there is no connection 'erb' to another system; did you mean 'erp'?"),
        ("target: erp.client", "target: crm.client", "target: crm", "there is no connection 'crm' to another system"),
        ("source: erp.client", "source: erp.bill", "source: erp.bill", "acme has no stream to read 'bill'"),
        ("    target: erp.client\n", "", "erp.client.out", "exactly one of source (a stream) and target"),
        ("mapping: acme/client.out", "mapping: acme/cleint.out", "cleint", "did you mean 'acme/client.out'?"),
        ("mapping: acme/client.out", "mapping: acme/client.in", "mapping: acme/client.in", "crm -> acme.client is needed here"),
        ("entity: demo\n    accept", "entity: dmeo\n    accept", "dmeo", "did you mean 'demo'?"),
        ("entity: demo}", "entity: demmo}", "demmo", "no legal entity 'demmo' in the table (entities); did you mean 'demo'?"),
        ("region: cn/south", "region: cn/suoth", "suoth", "there is no region 'cn/suoth' in the tree; did you mean 'cn/south/'?"),
        ("li.lei: cn/south", "li.lei: us", "li.lei", "there is no region 'us' in the tree"),
        ("[cn, cn/south]", "[cn/south]", "regions", "its parent 'cn/' must stand before it"),
        ("[cn, cn/south]", "[cn, cn/south, cn/]", "regions", "is there twice"),
        ("[cn, cn/south]", "[cn, cn/south, CN]", "regions", "is not a region's short name"),
        ("schedule: 5m", "schedule: often", "schedule", "a duration such as 30s, 5m or 2h is expected"),
        ("schedule: 5m", "schedule: 0s", "schedule", "a duration such as"),
        ("schedule: 5m", "stop_at: done", "stop_at", "unknown key 'stop_at'"),
        ("accept_window: true", "accept_window: yes", "accept_window", "'yes' is not one of true, false"),
        ("accept_window: true", "accept_window: true\n    stop_at: audited", "stop_at", "'audited' is not one of saved, done"),
        ("accept_window: true", "accept_window: true\n    on_delete: delete", "on_delete", "client has no step delete: only ignore"),
        ("accept_window: true", "accept_window: true\n    authority: {nmae: source}", "nmae", "did you mean 'name'?"),
        ("accept_window: true", "accept_window: true\n    authority: {name: newest}", "newest", "change time"),
        ("accept_window: true", "accept_window: true\n    admission: [usc]", "admission", "did you mean 'uscc'?"),
        ("accept_window: true", "accept_window: true\n    retry: {max_attempts: 0}", "retry", "from 1 to 1000"),
        ("accept_window: true", "accept_window: true\n    retry: {max_interval: 1s}", "retry", "shorter than initial_interval"),
        ("accept_window: true", "accept_window: true\n    retry: {attempts: 3}", "retry", "did you mean 'max_attempts'?"),
        ("  erp.client.in:", "  ERP in:", "ERP in", "a sync's name is"),
        ("  erp:\n", "  Erp:\n", "Erp:", "a connection's name is"),
        ("title: 示例, connection: erp", "connection: erp", "demo:", "title is missing"),
        ('orgs: {use: "100"}', 'orgs: {uses: "100"}', "uses", "did you mean 'use'?"),
        ('orgs: {use: "100"}', "currency: RMB", "RMB", "'RMB' is not a currency the hub knows"),
        ("connection: erp, orgs", "connection: erb, orgs", "erb", "there is no connection 'erb'"),
        ("syncs:", "kinds: {custmer: {}}\nsyncs:", "custmer", "did you mean 'customer'?"),
        ("syncs:", "kinds: {customer: {match: [{by: [website]}]}}\nsyncs:", "website", "is no key field of customer"),
        ("syncs:", "kinds: {customer: {match: [{within: region}]}}\nsyncs:", "within", "a list of key fields is expected"),
        ("syncs:", "alerts: []\nsyncs:", "alerts", "unknown key 'alerts'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, where: str, message: str
) -> None:
    text = bent(old, new)
    found = problems_of(tmp_path, text)
    line = line_of(text, where)
    assert any(problem.startswith(f"hub.yaml:{line}:") and message in problem for problem in found), found


def test_every_problem_of_every_file_is_reported_at_once(tmp_path: Path) -> None:
    text = (
        bent("mode: write", "mode: wite")
        .replace("schedule: 5m", "schedule: soon")
        .replace("connector: api", "connector: apy")
    )
    found = problems_of(
        tmp_path,
        text,
        acme_bill_out="mapping: acme/bill.out\nsource: crm.payment\ntarget: acme.bill\nfields: {Sum: amont}\n",
    )
    assert [problem.split(":")[0] for problem in found] == ["hub.yaml"] * (len(found) - 1) + [
        "mappings/acme/bill.out.yaml"
    ]
    for expected in ("wite", "soon", "'apy'; did you mean 'api'?", "amont"):
        assert any(expected in problem for problem in found), expected


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "version is missing"),
        (b"[]", "a mapping is expected"),
        (b"version: 1\nversion: 1\n", "there twice"),
        (b"a: &x 1\nb: *x\n", "anchors"),
        (b"a: !!python/object:os.system 1\n", "tags"),
        (b"a: [\n", "not YAML"),
        (b"version: 1\nconnections: []\n", "a mapping is expected, not a list"),
        (b"version: 1\nconnections: {erp: acme}\n", "a mapping is expected, not the text 'acme'"),
        (b"version: 1\nsyncs: {a: {target: [x], mapping: {}}}\n", "a text is expected"),
        (b"version: 1\nregions: {cn: }\n", "a list of texts is expected"),
        (b"#" * 600_000, "larger than"),
    ],
)
def test_a_file_that_is_no_project_is_refused_in_one_sentence(
    tmp_path: Path, raw: bytes | None, message: str
) -> None:
    if raw is not None:
        (tmp_path / "hub.yaml").write_bytes(raw)
    with pytest.raises(ProjectInvalid, match=message) as caught:
        load(tmp_path)
    assert isinstance(caught.value, SettingsError)
    assert caught.value.file == "hub.yaml"


def test_a_private_host_is_reached_only_through_an_exact_entry(tmp_path: Path) -> None:
    settings = "    settings:\n      url: https://erp.example.com/api"
    entry = "    allow: [{host: 10.1.2.3, port: 8443, network: 10.1.2.0/24, plain_http: true}]\n"
    project = load(
        write_project(
            tmp_path / "good",
            bent(settings, entry + settings.replace("https://erp.example.com", "http://10.1.2.3:8443")),
        )
    )
    assert project.connections["erp"].outbound.private[0].port == 8443
    for wrong, message in [
        ("{host: 10.1.2.3}", "one exact port"),
        ("{port: 80}", "host is missing"),
        ("{host: 10.1.2.3, port: 70000}", "from 1 to 65535"),
        ("{host: erp.intra, port: 80}", "a CIDR is needed"),
        ("{host: 8.8.8.8, port: 80}", "not within a private range"),
        ("{host: 10.1.2.3, port: 80, netwrok: 10.1.2.0/24}", "did you mean 'network'?"),
    ]:
        found = problems_of(tmp_path / "bad", bent(settings, f"    allow: [{wrong}]\n{settings}"))
        assert any(message in problem for problem in found), (wrong, found)


def test_settings_are_resolved_from_secrets_and_environment(tmp_path: Path) -> None:
    text = bent(
        "      key: ${secret:erp-key}",
        "      key: ${secret:erp-key}\n      size: ${env:SIZE}\n      note: at ${env:PLACE}!",
    )
    connection = load(write_project(tmp_path, text)).connections["erp"]
    assert secret_names(connection) == ["erp-key"]
    found = resolve(connection, SPEC, secret={"erp-key": "s3cret"}.get, env={"SIZE": "7", "PLACE": "home"})
    assert found == {
        "url": "https://erp.example.com/api",
        "key": Secret("s3cret"),
        "size": 7,
        "note": "at home!",
    }
    assert "s3cret" not in repr(found)
    with pytest.raises(SettingsError) as caught:
        resolve(connection, SPEC, secret={}.get, env={"SIZE": "seven"})
    for expected in (
        "hub secrets set erp-key",
        "size: a whole number",
        "PLACE is not set",
        "connections.erp.settings",
    ):
        assert expected in str(caught.value)


def test_a_start_publishes_what_nobody_published_and_a_changed_hub_yaml_and_no_draft(
    tmp_path: Path, any_store: Store
) -> None:
    project = load(write_project(tmp_path))
    first = any_store.run_now(publish_revisions, project.files)
    assert set(first.values()) == {1}
    assert project.with_revisions(first).syncs["erp.client.out"].revision == 1
    assert any_store.run_now(publish_revisions, project.files) == first
    path = tmp_path / "mappings/acme/client.out.yaml"
    path.write_text(path.read_text().replace("Tax: uscc", "Tax: tax_no"))
    (tmp_path / "hub.yaml").write_text(bent("schedule: 5m", "schedule: 6m"))
    changed = load(tmp_path)
    assert changed.digest != project.digest
    second = any_store.run_now(publish_revisions, changed.files)
    del first["mapping", "acme/client.out"]
    assert second == {**first, ("project", "hub.yaml"): 2}, "what is not in force has no number"
    rows = any_store.read_now(
        ask,
        "SELECT r.kind, r.revision, a.actor, a.verb FROM revisions r JOIN acts a ON a.id = r.act "
        "WHERE r.name IN ('hub.yaml', 'acme/client.out') ORDER BY r.act, r.kind",
    )
    assert rows == [
        ("mapping", 1, "start", "project.published"),
        ("project", 1, "start", "project.published"),
        ("project", 2, "start", "project.published"),
    ]
    assert any_store.read_now(ask, "SELECT count(*) FROM acts") == [(2,)]


def test_a_text_in_force_wins_over_its_file_whatever_that_holds(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    texts = {(one.kind, one.name): one.text for one in load(root).files if one.kind != "project"}
    for broken in ("mapping: [", "\udcff"):
        (root / "mappings/acme/client.out.yaml").write_text(broken, errors="surrogateescape")
        project = load_project(root, {SPEC.name: SPEC}, texts)
        assert project.drafts == (("mapping", "acme/client.out"),)
        assert project.syncs["erp.client.out"].mapping.fields["Tax"].reads == {"uscc"}
    (root / "mappings/acme/client.out.yaml").unlink()
    project = load_project(root, {SPEC.name: SPEC}, texts)
    assert (project.drafts, project.absent) == ((), (("mapping", "acme/client.out"),))
    del texts["mapping", "acme/client.out"]
    with pytest.raises(ProjectInvalid, match=r"acme/client\.out"):
        load_project(root, {SPEC.name: SPEC}, texts)


def test_a_wrongly_named_mapping_file_is_refused(tmp_path: Path) -> None:
    text = "mapping: acme/other.out\nsource: crm.customer\ntarget: acme.client\nfields: {Name: name}\n"
    found = problems_of(tmp_path, HUB_YAML, acme_client_out=text)
    assert any(
        "calls itself 'acme/other.out'; the file's name says 'acme/client.out'" in problem
        for problem in found
    )


def test_two_value_maps_of_one_name_are_refused(tmp_path: Path) -> None:
    write_project(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"mappings/acme/{name}.map.yaml").write_text("value_map: acme.way\nvalues: {x: y}\n")
    with pytest.raises(
        ProjectInvalid, match=r"b\.map\.yaml:1:1: value_map: there is another value map named 'acme.way'"
    ):
        load(tmp_path)


def test_a_delete_at_the_vendor_needs_a_step_for_it_and_is_never_for_payments(tmp_path: Path) -> None:
    text = bent("accept_window: true", "accept_window: true\n    on_delete: save")
    assert any("'save' is not one of" in problem for problem in problems_of(tmp_path, text))
    text = bent("mapping: acme/bill.out", "mapping: acme/bill.out\n    on_delete: delete")
    assert any("a payment is reversed, never deleted" in problem for problem in problems_of(tmp_path, text))


def test_admission_comes_from_the_sync_then_its_kind_then_the_default(tmp_path: Path) -> None:
    of_kind = bent("syncs:", "kinds: {customer: {admission: [name]}}\nsyncs:")
    assert load(write_project(tmp_path, of_kind)).syncs["erp.client.out"].admission == Admission(("name",))
    of_sync = of_kind.replace("accept_window: true", "accept_window: true\n    admission: []")
    assert load(write_project(tmp_path, of_sync)).syncs["erp.client.out"].admission is None


def test_a_connector_that_is_not_installed_is_named_with_the_nearest(tmp_path: Path) -> None:
    assert registry.connector("kingdee").spec.name == "kingdee"
    assert "kingdee" in registry.sandboxes()
    with pytest.raises(SettingsError, match="did you mean 'kingdee'"):
        registry.connector("kingde")
    with pytest.raises(SettingsError, match="no sandbox 'nothing' is installed"):
        registry.sandbox("nothing")


def test_a_backoff_grows_to_its_limit() -> None:
    retry = Retry(max_attempts=9, initial_interval=5, backoff_coefficient=2, max_interval=60)
    assert [retry.delay(attempts) for attempts in (0, 1, 2, 3, 5, 1000)] == [5, 5, 10, 20, 60, 60]
