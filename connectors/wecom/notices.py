"""Messages of the app to members (fact sheet 6): plain text, which no more than the app's visible range can get.

There is no key for a repeat: the same request inside ``duplicate_check_interval`` is not delivered twice, so a notice's
content is stable and carries its reference. What is beyond a member's limits is dropped without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.wecom.client import WeComClient
from hub.sdk import Cause, Notice, Refused, SettingsError, Told

__all__ = ["Messages"]

SEND = "message/send"
MOST_RECEIVERS, MOST_BYTES = 1000, 2048
LONGEST_CHECK = 14_400
"""Seconds: the longest time in which WeCom knows a repeat."""
_LOST = {"invaliduser": "no member in the app's range", "unlicenseduser": "no licence"}


class Messages:
    """Sends messages of the app of one connection."""

    def __init__(self, client: WeComClient, agent_id: int) -> None:
        """``agent_id``: of the app; 0: none was set, and nothing can be sent."""
        self._client, self._agent_id = client, agent_id

    async def send(self, userids: Sequence[str], notice: Notice, *, deadline: float) -> Told:
        """Send to at most 1,000 members. Who writes ``<a>`` in a name makes no link.

        Raises:
            SettingsError: agent_id is not set.
            Refused: the content is larger than 2,048 bytes; these are more people; nobody of them exists or is visible (81013).
            OutcomeUnknown: no answer; sending the same again within four hours reaches nobody twice.
        """
        if not self._agent_id:
            raise SettingsError("is needed for messages", field="agent_id")
        content = notice.content.replace("<", "＜").replace(">", "＞")
        if len(content.encode()) > MOST_BYTES:  # WeCom would cut it, with its reference
            raise _refused(f"a notice of more than {MOST_BYTES} bytes", "text")
        if len(userids) > MOST_RECEIVERS:
            raise _refused(f"a notice to more than {MOST_RECEIVERS} people", "users")
        body = {
            "touser": "|".join(userids), "msgtype": "text", "agentid": self._agent_id, "text": {"content": content},
            "enable_duplicate_check": 1, "duplicate_check_interval": LONGEST_CHECK,
        }  # fmt: skip
        reply = await self._client.write(SEND, body, deadline=deadline)
        written = {user.lower(): user for user in userids}  # WeCom answers in lower case
        missed = {
            written[user]: why
            for name, why in _LOST.items()
            for user in _listed(reply, name)
            if user in written
        }
        return Told((str(reply.get("msgid") or ""),), missed)


def _refused(message: str, field: str) -> Refused:
    return Refused(message, cause=Cause.INVALID, vendor="wecom", field=field)


def _listed(reply: dict[str, Any], name: str) -> list[str]:
    return [user.lower() for user in str(reply.get(name) or "").split("|") if user]
