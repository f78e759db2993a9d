"""HTTP mode's failed list: what DingTalk could not push is asked for, and each answer is durable before the next question.

The read is destructive: what it showed is forgotten there (fact sheet 6.1, pitfall 22). So it is published again and
again until that succeeds, before anything else is asked; what a crash in between loses is found by the next read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.events import Event, effect_of
from connectors.dingtalk.outcomes import bad_answer
from hub.sdk import Emit, InboundEvent, Received, RemoteError, Toolbox

__all__ = ["FailedList"]

API = "call_back/get_call_back_failed_result"
MOST = 50
"""Pages of 200 in one go."""
AGAIN = 1.0
INSIDE = ("bpmsCallBackData", "callbackData")


class FailedList:
    """Asks for the failed list from time to time."""

    def __init__(
        self,
        client: DingTalkClient,
        tools: Toolbox,
        settings: Mapping[str, Any],
        codes: tuple[str, ...],
        heard: Callable[[Event], None],
    ) -> None:
        """``settings``: failed_list_minutes, corp_id; each question may count against the month's calls."""
        self._client, self._tools, self._codes, self._heard = client, tools, codes, heard
        self._every: float = settings["failed_list_minutes"] * 60.0
        self._corp_id: str = settings["corp_id"]

    async def run(self, emit: Emit) -> None:
        """Ask until cancelled."""
        while True:
            try:
                await self.drain(emit)
            except RemoteError as error:
                self._tools.log.info("dingtalk.failed_list.not_read", error=str(error))
            await self._tools.clock.sleep(self._every)

    async def drain(self, emit: Emit) -> int:
        """Read the list to its end, publish what it shows; return how many events that were. Raises RemoteError."""
        count = 0
        for _ in range(MOST):
            reply = await self._client.old(API)
            listed = reply.get("failed_list")
            if listed is None:
                listed = []
            if not isinstance(listed, list):
                raise bad_answer(f"{API} answered no failed_list", read=True)
            events = [event for one in listed if isinstance(one, dict) for event in self._events(one)]
            count += len(events)
            await self._publish(emit, Received(tuple(events)))
            if str(reply.get("has_more")).lower() != "true" or not listed:
                break
        return count

    async def _publish(self, emit: Emit, received: Received) -> None:
        while received.events:
            try:
                await emit(received)
            except Exception as error:  # noqa: BLE001 - whatever the bus raises: DingTalk has forgotten these already
                self._tools.log.warning(
                    "dingtalk.failed_list.held", events=len(received.events), error=str(error)
                )
                await self._tools.clock.sleep(AGAIN)
            else:
                return

    def _events(self, one: Mapping[str, Any]) -> tuple[InboundEvent, ...]:
        word = str(one.get("call_back_tag") or "")
        said = one.get(word)
        inner: dict[str, Any] = dict(said) if isinstance(said, dict) else {}
        corp = inner.get("corpid")
        if corp is not None and corp != self._corp_id:
            self._tools.log.warning("dingtalk.failed_list.foreign", corp=str(corp)[:64])
            return ()
        for name in INSIDE:
            part = inner.get(name)
            if isinstance(part, dict):
                inner |= part
        event = Event.of(
            word, str(inner.get("eventId") or ""), {**inner, "EventTime": one.get("event_time")}, self._codes
        )
        self._heard(event)
        return effect_of(event).events
