"""The scenes with Mailchimp: who agreed abroad goes there, who is at home does not, who leaves there is heard here.

Every name is invented.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from hub.demo.scene import Seen, Step
from hub.demo.seen import alive, read_stream_of, settled
from hub.demo.stage import Stage, StoryFailed
from hub.demo.vendors import MAILCHIMP, SHOP, WECOM
from hub.pipe.exports import ExportStatus, export_status

__all__ = ["OVERSEAS"]

ABROAD: Final = range(1, 51)
AT_HOME: Final = range(1, 151)
AGREED: Final = {"custom.email_opt_in": True}
FOLLOWS: Final = f"{WECOM}.follow.in"
LEAVER: Final = 7
AT_ONCE: Final = 10
NEW_NAME: Final = "Guest 07 Lim"


def _guest(number: int) -> str:
    return f"S-{number:02}"


def _address(number: int) -> str:
    return f"guest{number:02}@acme-asia.sg"


def _met(number: int) -> str:
    return f"wmExpo{number:03}"


async def _exports(stage: Stage) -> ExportStatus:
    (found,) = await stage.hub.store.read(export_status, stage.hub.project)
    return found


async def _member(stage: Stage, number: int) -> dict[str, Any]:
    """Return somebody as Mailchimp has them."""
    audience = stage.sites[MAILCHIMP].vendor.credentials("")["list_id"]
    members = await stage.at_vendor(MAILCHIMP, "GET", f"/members/{audience}")
    return next(one for one in members if one["email_address"] == _address(number))


async def _come_from_wechat(stage: Stage) -> list[dict[str, Any]]:
    """Let 150 people whom 李雷 met be read in from WeCom, and return their records."""
    people = [
        {"act": "add_contact", "silent": True, "userid": "LiLei", "external_userid": _met(number), "name": f"展会客户{number:03}"}
        for number in AT_HOME
    ]  # fmt: skip
    await stage.at_vendor(WECOM, "POST", "/acts", people)
    await read_stream_of(stage, FOLLOWS)
    wanted = {_met(number) for number in AT_HOME}

    async def known() -> list[dict[str, Any]] | None:
        everybody = await stage.records_of("contacts")
        found = [one for one in everybody if one["fields"].get("wecom_external_userid") in wanted]
        return found if len(found) == len(wanted) else None

    return await stage.until("everybody whom 李雷 met", known)


async def _noted(stage: Stage, contact: dict[str, Any]) -> None:
    """Let the CRM note somebody's address, and that he agreed to mails."""
    email = f"{contact['fields']['wecom_external_userid'].lower()}@example.cn"
    await stage.patch("contacts", contact["id"], email=email, **AGREED)


async def _signed_up(stage: Stage, number: int) -> None:
    """Let somebody sign up for mails at the website abroad."""
    fields = {"name": f"Guest {number:02}", "email": _address(number), **AGREED}
    await stage.put("contacts", _guest(number), system=SHOP, **fields)


async def _together(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Make calls a few at a time, as a CRM does."""
    waiting = list(calls)
    while waiting:
        now, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
        await asyncio.gather(*now)


async def _gated(stage: Stage) -> Seen:
    met = await _come_from_wechat(stage)
    await _together(_noted(stage, contact) for contact in met)
    await _together(_signed_up(stage, number) for number in ABROAD)

    async def done() -> ExportStatus | None:
        await alive(stage, _guest(ABROAD[-1]))
        found = await _exports(stage)
        return (
            found
            if sum(found.people.values()) == len(ABROAD) and sum(found.held.values()) == len(AT_HOME)
            else None
        )

    status = await stage.until("50 abroad and 150 at the gate", done)
    ((field, held),) = status.held.items()
    (export,) = status.exports
    return Seen(
        f"50 位海外联系人同意收邮件，按标准合同（{export.reference}）去了 Mailchimp；150 位微信联系人也留了邮箱，但没有出境依据："
        f"{held} 位因 {field} 停在跨境闸口，看得见、数得清。",
        f"50 contacts overseas agreed to mails and went to Mailchimp on the standard contract {export.reference}. 150 people met on WeChat "
        f"left an address, too, but no legal basis lets it leave the country: {held} wait at the gate because of {field}, visibly.",
        ("hub exports", f"hub trace {_guest(1)}", f"hub trace {_met(1)}"),
    )


async def _left_there(stage: Stage) -> Seen:
    audience = stage.sites[MAILCHIMP].vendor.credentials("")["list_id"]
    leave = {"verb": "leave", "reason": "NOT_INTERESTED"}
    await stage.at_vendor(MAILCHIMP, "POST", f"/members/{audience}/{_address(LEAVER)}/act", leave)
    guest = stage.records[_guest(LEAVER)]

    async def home() -> bool:
        await alive(stage, _guest(LEAVER))
        fields = await stage.get("contacts", _guest(LEAVER), system=SHOP)
        consents = [
            one["fields"] for one in await stage.records_of("consents") if one["fields"]["contact"] == guest
        ]
        return bool(fields.get("email_opt_out")) and [one["state"] for one in consents] == ["opted_out"]

    await stage.until("the unsubscribe in the CRM", home)
    await stage.patch("contacts", guest, name=NEW_NAME)
    await settled(stage, _guest(LEAVER))
    member = await _member(stage, LEAVER)
    if (member["status"], member["merge_fields"]["FNAME"]) != ("unsubscribed", NEW_NAME):
        raise StoryFailed(f"{_address(LEAVER)} is {member['status']} as {member['merge_fields']['FNAME']}")
    return Seen(
        f"{_address(LEAVER)} 在 Mailchimp 退订：CRM 里记为退订，营销授权为 opted_out；之后 CRM 改了姓名，姓名过去了，退订没有被撤回。",
        f"{_address(LEAVER)} unsubscribed at Mailchimp: the CRM has the opt-out and the consent. Then the name changed in the CRM: the name "
        "went out, and nobody was subscribed again.",
        (f"hub trace {_guest(LEAVER)} --values",),
    )


OVERSEAS: Final[tuple[Step, ...]] = (
    Step(
        "gated",
        "海外 50 人去 Mailchimp，国内 150 人停在跨境闸口",
        "50 overseas go to Mailchimp, 150 at home stop at the border",
        _gated,
    ),
    Step("left_there", "在 Mailchimp 退订：回到 CRM", "An unsubscribe at Mailchimp comes home", _left_there),
)
