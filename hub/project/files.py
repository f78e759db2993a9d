"""Where files of records may lie (`files:` of hub.yaml): the CRM stays their owner, the hub shows them to approvers.

A phone does not reach a company's CRM; approvers get a link to a door of the hub (:mod:`hub.api.files`), which fetches the
file from here. Nothing is fetched from a host that is not named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hub.errors import SettingsError
from hub.sdk.net import CheckedUrl, Outbound, check_url

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["ATTACHMENTS", "LARGEST_FILE", "Files", "file_problems"]

ATTACHMENTS: Final = "attachments"
"""The field of contracts and approvals that names files: rows with name and url."""
LARGEST_FILE: Final = 20 << 20
"""Bytes of a file that is shown: what WeCom and DingTalk themselves take on a phone."""


@dataclass(frozen=True, slots=True)
class Files:
    """What ``files:`` says. ``hosts``: public ones in ASCII, reached by https on port 443; ``outbound``: private ones.

    ``days``: how long a link opens; ``after_end``: days it still does once the approval has ended. ``authorization``: the
    name of the secret that is sent as the header Authorization, None: the addresses open by themselves.
    """

    hosts: tuple[str, ...] = ()
    outbound: Outbound = field(default_factory=Outbound)
    days: int = 30
    after_end: int = 7
    authorization: str | None = None

    def check(self, url: str) -> CheckedUrl:
        """Return the address of a file taken apart, if it lies where files may lie.

        Raises:
            SettingsError: no https, a host that is not named, a private address; never shows the query.
        """
        checked = check_url(url, self.outbound)
        if checked.host in self.hosts or self.outbound.entry(checked.host, checked.port) is not None:
            return checked
        raise SettingsError(
            f"{checked.host}: files of this host are not shown; files.hosts of hub.yaml names those that are "
            "(该主机不在 hub.yaml 的 files.hosts 中)",
            field="url",
        )


def file_problems(files: Files | None, body: Mapping[str, Json]) -> list[tuple[str, str]]:
    """Return (field, why) for every file of a body that the hub would not show; without ``files`` it shows none."""
    rows = body.get(ATTACHMENTS)
    if files is None or not isinstance(rows, list):
        return []
    found = []
    for number, row in enumerate(rows):
        url = row.get("url") if isinstance(row, dict) else None
        try:
            if isinstance(url, str):
                files.check(url)
        except SettingsError as error:
            found.append((f"{ATTACHMENTS}[{number}].url", str(error)))
    return found
