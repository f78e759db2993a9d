"""Work notices to employees (fact sheet 5): sent once, and asked afterwards who really got them.

DingTalk says yes to what it drops: the same content to the same person twice a day, and what is beyond the daily cap. So
a text carries its reference, and `undelivered` asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.dingtalk.client import DingTalkClient
from connectors.dingtalk.outcomes import bad_answer
from hub.sdk import Cause, Refused, SettingsError

__all__ = ["WorkNotice", "WorkNotices"]

SEND = "topapi/message/corpconversation/asyncsend_v2"
RESULT = "topapi/message/corpconversation/getsendresult"
MOST_RECEIVERS, MOST_BYTES = 100, 2048
DROPPED: Mapping[str, str] = {
    "143105": "the daily cap of 500 notices a person is reached",
    "143106": "the same content was sent to this person today",
}


@dataclass(frozen=True, slots=True)
class WorkNotice:
    """One notice. ``reference`` makes its content differ from another's; ``url`` opens on a phone, "" for none."""

    title: str
    text: str
    reference: str
    url: str = ""

    def message(self) -> dict[str, Any]:
        """Return it as DingTalk takes it: a card with a button where there is an address, else markdown."""
        body = f"### {self.title}\n\n{self.text}\n\n`{self.reference}`"
        if self.url:
            card = {"title": self.title, "markdown": body, "single_title": "打开", "single_url": self.url}
            return {"msgtype": "action_card", "action_card": card}
        return {"msgtype": "markdown", "markdown": {"title": self.title, "text": body}}


class WorkNotices:
    """Sends notices of the app of one connection."""

    def __init__(self, client: DingTalkClient, agent_id: int) -> None:
        """``agent_id``: of the app; 0: none was set, and nothing can be sent."""
        self._client, self._agent_id = client, agent_id

    async def send(self, userids: Sequence[str], notice: WorkNotice, *, deadline: float) -> list[int]:
        """Send to employees, 100 a call; return the task ids to ask `undelivered` with.

        Raises:
            SettingsError: agent_id is not set.
            Refused: the content is larger than 2,048 bytes.
            OutcomeUnknown: no answer; sending the same again today reaches nobody twice.
        """
        if not self._agent_id:
            raise SettingsError("is needed for work notices", field="agent_id")
        message = notice.message()
        if len(orjson.dumps(message)) > MOST_BYTES:
            raise Refused(
                f"a notice of more than {MOST_BYTES} bytes",
                cause=Cause.INVALID,
                vendor="dingtalk",
                field="text",
            )
        tasks = []
        for index in range(0, len(userids), MOST_RECEIVERS):
            body = {
                "agent_id": self._agent_id,
                "userid_list": ",".join(userids[index : index + MOST_RECEIVERS]),
                "msg": message,
            }
            reply = await self._client.old_write(SEND, body, deadline=deadline)
            task = str(reply.get("task_id") or "")
            if not task.isascii() or not task.isdigit():
                raise bad_answer(f"{SEND} answered no task_id", read=False)
            tasks.append(int(task))
        return tasks

    async def undelivered(self, task: int) -> dict[str, str]:
        """Return who did not get a notice and why, within a day of sending it."""
        result = (await self._client.old(RESULT, {"agent_id": self._agent_id, "task_id": task})).get(
            "send_result"
        )
        if not isinstance(result, dict):
            raise bad_answer(f"{RESULT} answered no send_result", read=True)
        lost: dict[str, str] = {}
        for name in ("invalid_user_id_list", "failed_user_id_list", "forbidden_user_id_list"):
            lost |= dict.fromkeys(map(str, result.get(name) or ()), name.removesuffix("_user_id_list"))
        for one in result.get("forbidden_list") or ():
            if isinstance(one, dict) and one.get("userid"):
                lost[str(one["userid"])] = DROPPED.get(str(one.get("code")), f"code {one.get('code')}")
        return lost
