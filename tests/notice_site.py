"""A hub that tells people by a DingTalk on a socket; the store's clock stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from hub.audit.seal import Signer, seal
from hub.clock import SystemClock
from hub.errors import Cause, Refused
from hub.pipe.notices import Messenger
from hub.project.notices import NoticeRule, Notices
from hub.project.values import Connection, LegalEntity
from hub.sdk.connector import Connector, Failed
from hub.sdk.kit import Bench
from hub.store import sql
from tests.approval_desk import Desk
from tests.pipe_stand import Stand
from tests.worlds import project

__all__ = ["SECTION", "Died", "Office", "Post"]

SECTION = Notices("ding", it=("it.wu",), finance={"demo": ("zhao.liu",)})
USERS = {"li.lei": "seller", "zhao.liu": "finance", "it.wu": "head"}
"""Employee -> who that is at DingTalk."""


give = sql.command("UPDATE records SET owner = ?, entity = ? WHERE id = ?")


class Died(BaseException):
    """The process died here."""


class Mortal(SystemClock):
    """A clock whose process dies at a point, if a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.dies = ""

    def crash_point(self, name: str) -> None:
        if name == self.dies:
            self.dies = ""
            raise Died(name)


class Telling(Stand):
    """A stand whose people are told by a DingTalk on a socket: let :meth:`tell` work."""

    def hire(self, bench: Bench, *names: str, users: Mapping[str, str] = USERS) -> None:
        """Let these connections be apps of the DingTalk (or whatever the bench has); the first sends what is not an approval's."""
        made = self.world.project
        spec = type(bench.connect()).spec
        connections = {**made.connections, **{name: Connection(name, spec.name) for name in names}}
        known = {(name, code): user for name in names for code, user in users.items()}
        section = replace(SECTION, connection=names[0])
        made = replace(made, connections=connections, user_ids=known, notices=section)
        specs = {**self.world.specs, **dict.fromkeys(names, replace(spec, streams={}, objects={}))}
        self.world = replace(self.world, project=made, specs=specs)
        self.bench, self.mortal = bench, Mortal()
        self.connectors: dict[str, Connector] = {name: bench.connect() for name in names}
        self.signer = Signer.in_memory(self.clock)
        self.messenger = self.start()

    @property
    def company(self) -> Any:
        return self.bench.stand.sandbox.company

    def start(self, holder: str = "a") -> Messenger:
        """Return another process's messenger."""
        return Messenger(self.store, self.world, self.mortal, self.connectors, holder)

    def rules(self, *rules: NoticeRule, **section: Any) -> None:
        """Say who is told; a process that runs goes on by it."""
        told = replace(
            self.world.project.notices or SECTION, **({"rules": rules} if rules else {}), **section
        )
        self.world = replace(self.world, project=replace(self.world.project, notices=told))
        self.messenger = self.start()

    def seal(self) -> None:
        """Seal what is not sealed yet."""
        while self.store.run_now(seal, self.signer):
            pass

    async def tell(self, seconds: float = 0.0) -> None:
        """Let time pass, seal, and let the messenger work until it has read everything."""
        self.clock.at += round(seconds * 1_000_000)
        self.seal()
        while await self.messenger.turn() == 0.0:
            pass

    def notices(self, user: str = "") -> list[str]:
        """Return what people read on their phones, in order: of one of them, or of all."""
        return [
            one.msg["text"]["content"]
            for one in self.company.notices.values()
            if any(user in ("", who) and who not in one.dropped for who in one.userids)
        ]

    def acts(self) -> list[dict[str, Any]]:
        """Return the first item of every act about a notice."""
        found = self.ask("SELECT body FROM acts WHERE verb = 'notice' ORDER BY id")
        return [orjson.loads(body)["items"][0] for (body,) in found]


class Post(Telling):
    """A hub whose payments are refused. Say who refuses what with :meth:`refuse`."""

    def __init__(self, bench: Bench, url: str = "sqlite://", users: Mapping[str, str] = USERS) -> None:
        made = project(("customer", "receipt"))
        entities = {name: LegalEntity(name, name) for name in ("demo", "other")}
        super().__init__(url=url, made=replace(made, entities=entities, owners={"li.lei": "cn/south/"}))
        self.hire(bench, "ding", users=users)

    def refuse(
        self, *ids: str, cause: Cause = Cause.INVALID, said: str = "账号 ACC-9 不存在", **fields: Any
    ) -> list[str]:
        """Have payments refused by the vendor; return their records."""
        customer = self.put("C-1", name="示例科技有限公司", entity="demo")
        self.run()
        known = {"owner": "li.lei"}
        found = []
        for id_ in ids:
            found.append(self.put(id_, "payment", no=id_, customer=customer, amount="1500.00", currency="CNY",
                                  received_on="2026-01-10", entity="demo", **fields))  # fmt: skip
            self.own(found[-1], **known)
        for attempt in self.claim(0):
            self.settle(attempt, Failed(Refused(said, cause=cause, code="MQ_1")))
        return found

    def own(self, record: str, owner: str | None = "li.lei", entity: str | None = "demo") -> None:
        """Say whose a record is."""
        self.store.run_now(give, owner, entity, bytes.fromhex(record))


class Office(Telling, Desk):
    """A hub that has approvals decided in "oa", which is an app of that DingTalk too."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.hire(bench, "ding", "oa")
