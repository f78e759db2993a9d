"""Metrics and traces of a running hub in three processes, and the dashboard, rules and handbook that live on them."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.server
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from hub.metrics import FAMILIES
from tests.chaos.payments import credit_code
from tests.cluster import TOKEN, Cluster, running
from tests.hook_site import App, asked, event

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
PATIENCE = 90.0
PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus adds to what it scrapes."""
SUFFIX = re.compile(r"_(bucket|count|sum)$")


@dataclass(frozen=True)
class Page:
    """What one process said."""

    text: str
    families: Mapping[str, Metric]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that bear these labels."""
        return sum(
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Give sample name and the names of its labels."""
        for family in self.families.values():
            for sample in family.samples:
                yield sample.name, frozenset(sample.labels)


def scrape(url: str) -> Page:
    answer = httpx.get(f"{url}/metrics", trust_env=False, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    return Page(answer.text, families)


@dataclass(frozen=True)
class Running:
    """Three processes after some things went well and some did not, and what each says."""

    cluster: Cluster
    pages: Mapping[str, Page]
    spans: list[Span]

    def exported(self) -> dict[str, set[str]]:
        """Return what was really exported: sample name -> names of its labels, over all processes."""
        found: dict[str, set[str]] = {}
        for page in self.pages.values():
            for name, labels in page.labels():
                found.setdefault(name, set()).update(labels)
        return found


def customer(url: str, number: int) -> None:
    body = {"name": f"示例科技{number}有限公司", "uscc": credit_code(number)}
    url = f"{url}/api/v1/customers/by-external/crm/C-{number}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    httpx.put(url, json=body, headers=headers, trust_env=False, timeout=30).raise_for_status()


def callback(cluster: Cluster, url: str) -> None:
    """Send what WeCom would: somebody's contact changed. And what a stranger would."""
    known = cluster.vendors["wecom"]["credentials"]
    key = base64.b64decode(known["encoding_aes_key"] + "=")
    app = App(token=known["token"], key=key)
    encrypted = app.sealed(event(contact="wmNobodyKnows000000000000000000"))
    query = app.signed(encrypted, at=str(int(time.time())))
    body = f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()
    for _ in range(2):
        assert httpx.post(f"{url}/wecom{asked(query)}", content=body, trust_env=False).status_code == 200
    assert httpx.post(f"{url}/wecom", content=b"<xml/>", trust_env=False).status_code in (400, 401)


def dial(vendor: Mapping[str, Any], **fault: Any) -> None:
    answer = httpx.patch(
        f"{vendor['control_url'].rstrip('/')}/dials", json={"next": [fault]}, trust_env=False
    )
    answer.raise_for_status()


@dataclass(frozen=True)
class Span:
    """A span as it came to the collector."""

    name: str
    trace: bytes
    id: bytes
    parent: bytes
    process: int


@contextlib.contextmanager
def collector() -> Iterator[tuple[str, list[Span]]]:
    """Serve what takes spans by OTLP over HTTP; give its address and what came."""
    spans: list[Span] = []

    class Takes(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            for part in ExportTraceServiceRequest.FromString(body).resource_spans:
                known = {one.key: one.value for one in part.resource.attributes}
                process = known["process.pid"].int_value
                assert known["service.name"].string_value == "integration-hub"
                for scope in part.scope_spans:
                    spans.extend(
                        Span(one.name, one.trace_id, one.span_id, one.parent_span_id, process)
                        for one in scope.spans
                    )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with collector() as (address, spans):
        environment = {
            "HUB_AUDIT_KEEP_DAYS": "400",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        yield from _hub(tmp_path_factory, environment, spans)


def _hub(
    tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str], spans: list[Span]
) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("metrics"), environment, "kingdee", "wecom") as cluster:
        dial(cluster.vendors["kingdee"], fault="msgcode_11", op="Save")
        dial(cluster.vendors["wecom"], fault="errcode_45033", op="externalcontact/get", times=1)
        members = {role: cluster.up(role) for role in ("gateway", "worker", "console")}
        callback(cluster, members["gateway"].told["hooks_url"])
        httpx.get(
            f"{members['gateway'].told['hooks_url'].removesuffix('/hooks')}/files/none", trust_env=False
        )
        for number in range(4):
            customer(members["console"].url, number)
        began = time.monotonic()
        while True:
            page = scrape(members["worker"].url)
            done = page.value("hub_records_written_total", sync="k3.customer.out") == 3
            counted = page.value("hub_rate_limited_total") and page.value("hub_dlq_depth", cause="invalid")
            if done and counted and {"capture", "take", "fetch"} <= {span.name for span in spans}:
                break
            assert time.monotonic() < began + PATIENCE, page.text
        yield Running(cluster, {role: scrape(member.url) for role, member in members.items()}, list(spans))


def test_a_worker_counts_what_it_did(hub: Running) -> None:
    worker = hub.pages["worker"]
    assert worker.value("hub_records_failed_total", sync="k3.customer.out", cause="invalid") == 1
    assert worker.value("hub_dlq_depth", sync="k3.customer.out", cause="invalid") == 1
    assert worker.value("hub_attempts_total", connection="k3", verb="write", result="applied") == 3
    assert worker.value("hub_attempts_total", connection="k3", verb="write", result="refused") == 1
    assert worker.value("hub_rate_limited_total", connection="wecom") == 1
    assert worker.value("hub_token_refresh_total", connection="wecom", result="ok") == 1
    assert worker.value("hub_end_to_end_latency_seconds_count", sync="k3.customer.out") == 3
    assert worker.value("hub_records_read_total", connection="wecom", stream="user") > 0
    saves = "/k3cloud/Kingdee.BOS.WebApi.ServicesStub.DynamicFormService.Save.common.kdsvc"
    labels = {"system": "kingdee", "endpoint": saves, "code": "200"}
    assert worker.value("hub_http_request_duration_seconds_count", **labels) == 4
    assert worker.value("hub_ingest_total") == 0


def test_a_gateway_counts_its_doors_and_asks_the_store_as_all_do(hub: Running) -> None:
    gateway = hub.pages["gateway"]
    assert gateway.value("hub_ingest_total", connection="wecom") == 2
    assert gateway.value("hub_ingest_repeats_total", connection="wecom") == 1
    assert gateway.value("hub_ingest_errors_total", connection="wecom") == 1
    assert gateway.value("hub_ingest_latency_seconds_count", connection="wecom") == 3
    assert gateway.value("hub_records_written_total") == 0
    for page in hub.pages.values():
        assert page.value("hub_members") == 1
        assert page.value("hub_writes_open") == page.value("hub_store_up") == page.value("hub_bus_up") == 1
        assert page.value("hub_dlq_depth") == 1
    assert [page.value("hub_build_info", role=role) for role, page in hub.pages.items()] == [1, 1, 1]


def test_every_metric_is_exported_with_the_labels_it_declares(hub: Running) -> None:
    seen = hub.exported()
    for name, family in FAMILIES.items():
        sample = f"{name}_count" if family.kind == "histogram" else name
        assert seen.get(sample) == set(family.labels), name


def test_a_callback_is_followed_from_the_gateway_into_the_worker(hub: Running) -> None:
    by_id = {span.id: span for span in hub.spans}

    def way(span: Span) -> list[Span]:
        return [*(way(by_id[span.parent]) if span.parent in by_id else []), span]

    ways = [way(span) for span in hub.spans if span.name == "fetch"]
    followed = [one for one in ways if [span.name for span in one] == ["capture", "take", "fetch"]]
    assert followed
    for gateway, take, fetch in followed:
        assert gateway.process != take.process == fetch.process
        assert gateway.trace == take.trace == fetch.trace


def test_a_histogram_ends_with_everything(hub: Running) -> None:
    worker = hub.pages["worker"]
    whole = {"sync": "k3.customer.out", "le": "+Inf"}
    assert worker.value("hub_end_to_end_latency_seconds_bucket", **whole) == 3
    assert worker.value("hub_end_to_end_latency_seconds_sum", sync="k3.customer.out") > 0


def test_no_personal_value_or_secret_is_on_a_page(hub: Running) -> None:
    secrets = [
        str(value)
        for vendor in hub.cluster.vendors.values()
        for value in vendor["credentials"].values()
        if len(str(value)) > 8
    ]
    for page in hub.pages.values():
        for value in (*secrets, TOKEN, "示例科技", credit_code(0), "wmNobodyKnows", "access_token"):
            assert value not in page.text


# -------------------------------------------------------------------------- the dashboard, the rules, the handbook


def rules() -> list[Mapping[str, Any]]:
    found = YAML(typ="safe").load((MONITORING / "rules.yml").read_text("utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


def panels() -> list[Mapping[str, Any]]:
    found = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str, str]]:
    """Give (where, expression, text in which labels of its result are named)."""
    for rule in rules():
        yield rule["alert"], rule["expr"], rule["annotations"]["summary"].replace("$labels.", "")
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


def named(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Give each metric of an expression with the labels that its own selector names."""
    for match in re.finditer(r"\b((?:hub|process|python)_\w+|up)\b(?:\{([^}]*)\})?", expression):
        yield match[1], set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", match[2] or ""))


def test_every_metric_and_label_of_rules_and_dashboard_is_exported(hub: Running) -> None:
    seen = {**hub.exported(), "up": set()}
    count = 0
    for where, expression, text in expressions():
        metrics = list(named(expression))
        assert metrics, where
        known: set[str] = set(PROMETHEUS)
        for name, selected in metrics:
            assert name in seen, f"{where}: {name} is not exported"
            assert selected <= seen[name] | PROMETHEUS, (
                f"{where}: {name} has no label {selected - seen[name]}"
            )
            known |= seen[name]
            count += 1
        by = {one.strip() for part in re.findall(r"\bby \(([^)]*)\)", expression) for one in part.split(",")}
        assert by <= known, f"{where}: nothing there has the label {by - known}"
        shown = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", text))
        assert shown <= (by or known) - {"le"}, f"{where}: the result has no label {shown - by}"
    assert count > 50


def test_every_metric_of_the_hub_is_on_the_dashboard_or_in_a_rule() -> None:
    used = {SUFFIX.sub("", name) for _, expression, _ in expressions() for name, _ in named(expression)}
    assert FAMILIES.keys() - used == set()


def test_values_that_rules_look_for_are_values_that_occur(hub: Running) -> None:
    """A selector on a value nobody ever writes is an alarm that never rings."""
    found = {
        (match[1], label, value)
        for _, expression, _ in expressions()
        for match in re.finditer(r"(hub_\w+)\{([^}]*)\}", expression)
        for label, value in re.findall(r'(\w+)="([^"]*)"', match[2])
    }
    rare = {
        ("hub_token_refresh_total", "result", "failed"): "hub/pipe/tokens.py",
        ("hub_attempts_total", "result", "outcome_unknown"): "hub/errors.py",
    }
    texts = " ".join(page.text for page in hub.pages.values())
    for name, label, value in found - rare.keys():
        assert f'{label}="{value}"' in texts, name
    assert 'result = "failed"' in (ROOT / "hub/pipe/tokens.py").read_text("utf-8")
    assert "class OutcomeUnknown(RemoteError)" in (ROOT / "hub/errors.py").read_text("utf-8")


def test_each_alarm_has_its_line_in_the_handbook() -> None:
    lines = (ROOT / "docs" / "operations.md").read_text("utf-8").splitlines()
    told = {}
    for line in lines:
        if match := re.match(r'\| <a id="(\w+)"></a>(\w+) \| (.+) \| (.+) \| (.+) \|$', line):
            assert match[1] == match[2].lower()
            told[match[2]] = match.groups()[2:]
    names = [rule["alert"] for rule in rules()]
    assert sorted(told) == sorted(names)
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
