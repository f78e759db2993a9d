"""What a process counts: bounded labels, nothing that names a record, histograms as Prometheus reads them."""

from __future__ import annotations

import pytest

from hub.metrics import FAMILIES, OTHER, Metrics, endpoint_of

ID_LABELS = {"record", "subject", "id", "key", "vendor_id", "user", "row"}


def test_no_metric_has_a_label_for_a_record() -> None:
    assert not [name for name, family in FAMILIES.items() if ID_LABELS & set(family.labels)]


def test_names_say_what_is_counted() -> None:
    for name, family in FAMILIES.items():
        assert name.startswith("hub_")
        assert name.endswith("_total") == (family.kind == "counter"), name
        assert name.endswith("_seconds") or family.kind != "histogram", name
        assert bool(family.steps) == (family.kind == "histogram"), name


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/cgi-bin/externalcontact/get", "/cgi-bin/externalcontact/get"),
        ("/k3cloud/Kingdee.BOS.WebApi.Save.common.kdsvc", "/k3cloud/Kingdee.BOS.WebApi.Save.common.kdsvc"),
        ("/v1/customers/100234", "/v1/customers/:id"),
        ("/v1/customers/9f8b7c6d5e4f3a2b/notes", "/v1/customers/:id/notes"),
        ("/v1/customers/示例科技", "/v1/customers/:id"),
        ("/v1/people/li.lei@example.com", "/v1/people/:id"),
        ("/v1/people/%E5%BC%A0", "/v1/people/:id"),
        ("", "/"),
        ("/" + "x" * 500, "/" + "x" * 119),
    ],
)
def test_an_endpoint_names_no_object(path: str, endpoint: str) -> None:
    assert endpoint_of(path) == endpoint


def test_endpoints_and_label_sets_are_bounded() -> None:
    metrics = Metrics()
    for number in range(5_000):
        metrics.request("acme", f"/word{chr(97 + number % 26)}x{'y' * (number // 26)}", "200", 0.1)
        metrics.add("hub_records_failed_total", f"sync{number}", "invalid")
    endpoints = {endpoint for _, endpoint, _ in metrics.steps["hub_http_request_duration_seconds"]}
    assert len(endpoints) <= 101
    assert OTHER in endpoints
    failed = metrics.sums["hub_records_failed_total"]
    assert len(failed) <= 2_001
    assert sum(failed.values()) == 5_000


def test_an_unknown_counter_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Metrics().add("hub_sales_total")


def test_two_processes_share_nothing() -> None:
    first, second = Metrics(), Metrics()
    first.add("hub_rate_limited_total", "k3")
    assert second.sums == {}


def test_a_histogram_counts_each_value_once_and_time_never_runs_back() -> None:
    metrics = Metrics()
    metrics.observe("hub_end_to_end_latency_seconds", (-3.0, 0.05, 0.06, 1e9), "s")
    *counts, seconds = metrics.steps["hub_end_to_end_latency_seconds"][("s",)]
    assert counts[:2] == [2, 1]
    assert counts[-1] == 1
    assert sum(counts) == 4
    assert seconds == pytest.approx(1e9 + 0.11)
