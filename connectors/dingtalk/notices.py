"""Work notices to employees (fact sheet 5): sent once, and asked afterwards who really got them.

DingTalk says yes to what it drops: the same content to the same person twice a day, and what is beyond the daily cap. So
a notice carries its reference, and `getsendresult` is asked. There is no key for a repeat: that same-content rule is what
keeps a repeat from a person who had the notice already, until the day ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.outcomes import bad_answer
from hub.sdk import Cause, Clock, Notice, Refused, RemoteError, SettingsError, Told

__all__ = ["WorkNotices"]

SEND = "topapi/message/corpconversation/asyncsend_v2"
RESULT = "topapi/message/corpconversation/getsendresult"
MOST_RECEIVERS, MOST_BYTES = 100, 2048
DAILY_CAP, SAME_CONTENT = "143105", "143106"
LOOKS, BETWEEN = 3, 1.0
"""How often the result is asked for, and seconds between: the sending is asynchronous."""
_LOST = ("invalid", "failed", "forbidden")
_REACHED = ("read", "unread")


class WorkNotices:
    """Sends notices of the app of one connection."""

    def __init__(self, client: DingTalkClient, clock: Clock, agent_id: int) -> None:
        """``agent_id``: of the app; 0: none was set, and nothing can be sent."""
        self._client, self._clock, self._agent_id = client, clock, agent_id

    async def send(self, userids: Sequence[str], notice: Notice, *, deadline: float) -> Told:
        """Send to at most 100 employees, as plain text: what stands in it was written by others.

        Raises:
            SettingsError: agent_id is not set.
            Refused: the content is larger than 2,048 bytes, or these are more people.
            OutcomeUnknown: no answer; sending the same again today reaches nobody twice.
        """
        if not self._agent_id:
            raise SettingsError("is needed for work notices", field="agent_id")
        message = {"msgtype": "text", "text": {"content": notice.content}}
        if len(orjson.dumps(message)) > MOST_BYTES:
            raise _refused(f"a notice of more than {MOST_BYTES} bytes", "text")
        if len(userids) > MOST_RECEIVERS:
            raise _refused(f"a notice to more than {MOST_RECEIVERS} people", "users")
        body = {"agent_id": self._agent_id, "userid_list": ",".join(userids), "msg": message}
        reply = await self._client.old_write(SEND, body, deadline=deadline)
        task = str(reply.get("task_id") or "")
        if not task.isascii() or not task.isdigit():
            raise bad_answer(f"{SEND} answered no task_id", read=False)
        lost = await self._lost(int(task), userids)
        already = frozenset(user for user, why in lost.items() if why == SAME_CONTENT)
        return Told((task,), {user: why for user, why in lost.items() if user not in already}, already)

    async def _lost(self, task: int, userids: Sequence[str]) -> dict[str, str]:
        """Return who did not get it and why, as far as DingTalk knows by now; a question that fails tells of nobody."""
        lost: dict[str, str] = {}
        for look in range(LOOKS):
            try:
                lost, reached = await self._result(task)
            except RemoteError:
                return lost
            if set(userids) <= lost.keys() | reached or look == LOOKS - 1:
                break
            await self._clock.sleep(BETWEEN)
        return {user: why for user, why in lost.items() if user in userids}

    async def _result(self, task: int) -> tuple[dict[str, str], set[str]]:
        answer = await self._client.old(RESULT, {"agent_id": self._agent_id, "task_id": task})
        result = answer.get("send_result")
        if not isinstance(result, dict):
            raise bad_answer(f"{RESULT} answered no send_result", read=True)
        lost = {user: f"{name} user" for name in _LOST for user in _listed(result, f"{name}_user_id_list")}
        for one in result.get("forbidden_list") or ():
            if isinstance(one, dict) and one.get("userid"):
                lost[str(one["userid"])] = _why(str(one.get("code")))
        return lost, {user for name in _REACHED for user in _listed(result, f"{name}_user_id_list")}


def _refused(message: str, field: str) -> Refused:
    return Refused(message, cause=Cause.INVALID, vendor="dingtalk", field=field)


def _listed(result: dict[str, Any], name: str) -> list[str]:
    return [str(user) for user in result.get(name) or ()]


def _why(code: str) -> str:
    return {SAME_CONTENT: SAME_CONTENT, DAILY_CAP: "the daily cap of 500 notices a person is reached"}.get(
        code, f"code {code}"
    )
