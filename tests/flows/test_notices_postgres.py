"""Notices of a cluster on PostgreSQL: two processes at the same group, and a process that dies."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from connectors.dingtalk import DingTalkConnector
from hub.pipe.notice_groups import groups
from hub.pipe.notices import pin
from hub.sdk.kit import Bench
from hub.store import Store
from tests.contract.dingtalk_stand import DingTalkStand
from tests.notice_site import Died, Post


@pytest.fixture
async def post(fresh_postgres_url: str) -> AsyncIterator[Post]:
    async with Bench.open(DingTalkConnector, DingTalkStand) as bench:
        bench.stand.sandbox.dials.qps = 0
        made = Post(bench, fresh_postgres_url)
        await made.tell()
        yield made
        made.close()


async def test_a_notice_whose_sender_died_is_repeated_and_read_once(post: Post) -> None:
    post.refuse("HK-1", "HK-2")
    await post.tell()
    post.mortal.dies = "notice.sent"
    with pytest.raises(Died):
        await post.tell(301)
    post.messenger = post.start("b")
    await post.tell(160)
    assert [text.splitlines()[0][:3] for text in post.notices("seller")] == ["2 笔"]
    assert [act["sends"] for act in post.acts()] == [2]


async def test_of_two_processes_that_look_at_the_same_moment_one_sends(
    post: Post, fresh_postgres_url: str
) -> None:
    post.refuse("HK-1")
    await post.tell()
    post.clock.at += 301_000_000
    (group,) = post.store.read_now(groups)
    second, barrier = Store.open(fresh_postgres_url, post.clock, inline=True), threading.Barrier(2)

    def at_once(store: Store) -> bool:
        barrier.wait(30)
        return store.run_now(pin, post.world, group.spec.name) is not None

    with ThreadPoolExecutor(2) as pool:
        found = [one.result(30) for one in [pool.submit(at_once, store) for store in (post.store, second)]]
    second.close()
    assert sorted(found) == [False, True]
