"""The XML of callbacks (7.3): what the vendor tells an app, and which app is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Event", "element"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ``userid``: the member an app must see to be told, "" for all apps.

    ``inner``: elements with elements of their own, as XML. ``agentid``: the app it names, where that is not the receiver.
    """

    event: str
    change_type: str
    created: int
    fields: Mapping[str, str]
    userid: str = ""
    grant: str = "externalcontact"
    inner: str = ""
    agentid: str = ""

    def xml(self, corpid: str, *, unknown_fields: bool = False) -> bytes:
        """Return the plaintext of the callback."""
        parts = [
            element("ToUserName", corpid), element("FromUserName", "sys"), f"<CreateTime>{self.created}</CreateTime>",
            element("MsgType", "event"), element("Event", self.event),
        ]  # fmt: skip
        if self.change_type:
            parts.append(element("ChangeType", self.change_type))
        parts += [element(name, value) for name, value in self.fields.items()]
        if self.agentid:
            parts.append(f"<AgentID>{self.agentid}</AgentID>")
        parts.append(self.inner)
        if unknown_fields:
            parts.append("<FieldOfNextYear><Deep><![CDATA[值]]></Deep></FieldOfNextYear>")
        return f"<xml>{''.join(parts)}</xml>".encode()


def element(name: str, value: str) -> str:
    """Return an element with its text."""
    if value.isdecimal() and name in {"ParentId", "Order", "MainDepartment", "Status"}:
        return f"<{name}>{value}</{name}>"
    text = value.replace("]]>", "]]]]><![CDATA[>")
    return f"<{name}><![CDATA[{text}]]></{name}>"
