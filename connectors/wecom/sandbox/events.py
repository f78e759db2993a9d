"""The XML of callbacks (7.3): what the vendor tells an app, and which app is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Event"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ``userid``: the member an app must see to be told, "" for all apps."""

    event: str
    change_type: str
    created: int
    fields: Mapping[str, str]
    userid: str = ""
    grant: str = "externalcontact"

    def xml(self, corpid: str, *, unknown_fields: bool = False) -> bytes:
        """Return the plaintext of the callback."""
        parts = [
            _element("ToUserName", corpid), _element("FromUserName", "sys"), f"<CreateTime>{self.created}</CreateTime>",
            _element("MsgType", "event"), _element("Event", self.event),
        ]  # fmt: skip
        if self.change_type:
            parts.append(_element("ChangeType", self.change_type))
        parts += [_element(name, value) for name, value in self.fields.items()]
        if unknown_fields:
            parts.append("<FieldOfNextYear><Deep><![CDATA[值]]></Deep></FieldOfNextYear>")
        return f"<xml>{''.join(parts)}</xml>".encode()


def _element(name: str, value: str) -> str:
    if value.isdecimal() and name in {"ParentId", "Order", "MainDepartment", "Status"}:
        return f"<{name}>{value}</{name}>"
    text = value.replace("]]>", "]]]]><![CDATA[>")
    return f"<{name}><![CDATA[{text}]]></{name}>"
