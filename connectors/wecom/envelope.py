"""XML of callbacks, read with no trust at all: no DOCTYPE, no entities, no instructions, bounded in every way.

Both layers are read the same: the envelope around ``Encrypt`` and the event inside. CDATA and text are alike.
"""

from __future__ import annotations

import re
from typing import NoReturn

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

__all__ = ["LARGEST", "MOST_INSIDE", "BadXmlError", "read_fields"]

LARGEST = 64 * 1024
DEEPEST = 16
MOST_ELEMENTS = 200
ONCE = frozenset(
    ["AgentID", "ApprovalInfo", "ChangeType", "CreateTime", "Encrypt", "Event", "ExternalUserID", "FromUserName", "MsgType", "NewUserID",
     "ToUserName", "UserID"]
)  # fmt: skip
"""What is read, or says who and when: twice, nobody can say which counts. Others may repeat; their first is kept."""
NESTED = frozenset(["ApprovalInfo"])
"""Elements whose own elements are read too, as ``ApprovalInfo/SpNoStr``; the first where one repeats."""
MOST_INSIDE = 2_000
"""Elements of an event, which is signed by then: a list of group members may be long."""
_DECLARED = re.compile(r"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")


class BadXmlError(Exception):
    """The bytes are not an envelope or event as WeCom sends it."""


def read_fields(content: bytes, *, most: int = MOST_ELEMENTS) -> dict[str, str]:
    """Return the texts of the elements directly below ``<xml>`` and below those of NESTED; the rest is checked and left out.

    ``most``: elements in all.

    Raises:
        BadXmlError: not UTF-8, not well-formed, too large or deep, a DOCTYPE, an element of ONCE that stands twice.
    """
    if len(content) > LARGEST:
        raise BadXmlError("larger than 64 kB")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadXmlError("not UTF-8") from error
    if (
        "\x00" in text
    ):  # UTF-16 without a mark is valid UTF-8 with NULs, and the parser would guess what it is
        raise BadXmlError("a NUL")
    declared = _DECLARED.match(text.lstrip("\ufeff"))
    if declared and declared[1].lower() not in ("utf-8", "utf8"):
        raise BadXmlError("declared in another encoding than UTF-8")
    target = _Fields(most)
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    try:
        parser.feed(text.encode())
        parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise BadXmlError(type(error).__name__) from error
    return target.fields


class _Fields:
    """What the parser reports to: keeps the first level's texts and those inside NESTED, counts the rest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.fields: dict[str, str] = {}
        self._open: list[str] = []
        self._elements = 0
        self._text: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:  # noqa: ARG002 - the parser's signature
        self._elements += 1
        if self._elements > self._most or len(self._open) >= DEEPEST:
            raise BadXmlError("too many elements, or too deep")
        if (not self._open and tag != "xml") or "{" in tag:
            raise BadXmlError("the root is not <xml>, or an element has a namespace")
        if len(self._open) == 1 and tag in self.fields and tag in ONCE:
            raise BadXmlError("an element stands twice")
        self._open.append(tag)
        self._text = []

    def data(self, data: str) -> None:
        if self._is_read():
            self._text.append(data)

    def end(self, tag: str) -> None:  # noqa: ARG002 - the parser's signature
        if self._is_read():
            self.fields.setdefault("/".join(self._open[1:]), "".join(self._text))
        self._open.pop()
        self._text = []

    def _is_read(self) -> bool:
        return len(self._open) == 2 or (len(self._open) == 3 and self._open[1] in NESTED)

    def pi(self, target: str, data: str | None = None) -> NoReturn:  # noqa: ARG002 - the parser's signature
        raise BadXmlError("a processing instruction")

    def close(self) -> None:
        """Hold nothing more."""
