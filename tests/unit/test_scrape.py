"""The page of the metrics: asked once for many scrapes, honest when store or bus is away, apart for each process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.api.scrape import FRESH, SHARE, Scrape
from hub.bus.port import INBOUND, Message
from hub.clock import SystemClock
from hub.errors import TryAgain
from hub.metrics import FAMILIES
from hub.settings import load_settings
from hub.wiring import Hub, open_hub

HUB_YAML = """\
version: 1
regions: [cn]
connections:
  crm: {connector: api, region: cn}
"""


class Watch(SystemClock):
    """A clock whose monotonic time a test moves."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    (tmp_path / "mappings").mkdir()
    (tmp_path / "hub.yaml").write_text(HUB_YAML, "utf-8")
    opened = open_hub(
        load_settings(data_dir=tmp_path / "var", project_dir=tmp_path), clock=Watch(), start=True
    )
    yield opened
    await opened.aclose()


async def page(scrape: Scrape) -> dict[str, float]:
    """Return name and labels of each sample of ours -> its value."""
    found = {}
    for family in text_string_to_metric_families((await scrape.text()).decode()):
        for sample in family.samples:
            if sample.name.startswith("hub_"):
                labels = ",".join(sample.labels.values())
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_many_scrapes_ask_the_store_once_in_five_seconds(hub: Hub, monkeypatch) -> None:
    read, asked = hub.store.read, []

    async def watched(fn, *args):
        asked.append(fn.__name__)
        return await read(fn, *args)

    monkeypatch.setattr(hub.store, "read", watched)
    scrape = Scrape(hub, "all")
    for _ in range(5):
        assert (await page(scrape))["hub_store_up"] == 1
    assert asked == ["gauges"], "one batched read"
    hub.clock.at += FRESH - 0.1
    await page(scrape)
    assert len(asked) == 1
    hub.clock.at += 0.2
    await page(scrape)
    assert len(asked) == 2


async def test_a_store_that_is_slow_is_asked_less_often(hub: Hub, monkeypatch) -> None:
    read, asked = hub.store.read, []

    async def slow(fn, *args):
        asked.append(fn.__name__)
        hub.clock.at += 1.0
        return await read(fn, *args)

    monkeypatch.setattr(hub.store, "read", slow)
    scrape = Scrape(hub, "all")
    await page(scrape)
    hub.clock.at += SHARE - 2.0
    await page(scrape)
    assert len(asked) == 1
    hub.clock.at += 2.0
    await page(scrape)
    assert len(asked) == 2


async def test_what_the_process_counted_is_there_though_store_and_bus_are_away(hub: Hub, monkeypatch) -> None:
    async def away(*_: object) -> None:
        raise TryAgain("away")

    hub.world.metrics.add("hub_rate_limited_total", "crm", by=3)
    monkeypatch.setattr(hub.store, "read", away)
    monkeypatch.setattr(hub.bus, "partitions", away)
    told = await page(Scrape(hub, "gateway"))
    assert (told["hub_store_up"], told["hub_bus_up"], told["hub_rate_limited_total{crm}"]) == (0, 0, 3)
    assert "hub_writes_open" not in told, "nobody knows"
    assert not [name for name in told if name.startswith("hub_queue")]


async def test_what_waits_on_the_bus_is_counted(hub: Hub) -> None:
    await hub.bus.publish(INBOUND, [Message(f"k{number}", {}, b"") for number in range(7)])
    told = await page(Scrape(hub, "all"))
    assert told["hub_bus_backlog_messages{hub.inbound}"] == 7
    assert told["hub_bus_backlog_messages{hub.inbound.bulk}"] == 0


async def test_every_family_is_named_even_before_anything_happened(hub: Hub) -> None:
    text = (await Scrape(hub, "all").text()).decode()
    kinds = {line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE hub_")}
    assert kinds == {name: family.kind for name, family in FAMILIES.items()}
    assert text.count("# HELP hub_queue_depth ") == 1


async def test_two_pages_of_one_process_share_no_registry(hub: Hub) -> None:
    first, second = Scrape(hub, "all"), Scrape(hub, "worker")
    assert "hub_build_info{log,all,sqlite,0.1.0}" in await page(first)
    told = await page(second)
    assert "hub_build_info{log,worker,sqlite,0.1.0}" in told
    assert "hub_build_info{log,all,sqlite,0.1.0}" not in told


async def test_a_label_cannot_break_the_page(hub: Hub) -> None:
    hub.world.metrics.add("hub_records_failed_total", 'a"b\nc\\d{}', "无效")
    told = await page(Scrape(hub, "all"))
    assert told['hub_records_failed_total{无效,a"b\nc\\d{}}'] == 1
