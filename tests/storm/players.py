"""Who is there and what they do: seeded, through the same screens the vendor's users have.

Every person has a number, and with it a home region, numbers of his own and a sort that says how he may become
somebody's contact person: what a person's company is never changes, so that the rules decide alike in any order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.acts import (
    Accept,
    Act,
    AddContact,
    DeleteByCustomer,
    DeleteByEmployee,
    DeleteTags,
    EditFollow,
    EditPerson,
    EditTag,
    MakeTags,
    TransferOutcome,
)
from connectors.wecom.sandbox.rows import Follow, Transfer
from tests.storm.site import EMPLOYEES, REGIONS, home_of, userid_of

__all__ = ["SORTS", "Person", "Players"]

SORTS = ("plain", "made", "joined", "unsure", "core", "mobile", "colleague", "plain", "plain", "plain")
"""made: nobody has his company · joined: the CRM has it in his region · unsure: in another one · core: under a longer
name · mobile: his number is a customer's phone · colleague: a WeCom user whose company the vendor states."""
WAYS = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 24, 201, 999)
GROUP = "风暴"


@dataclass
class Person:
    """A person: ``external`` is the vendor's id once he was added by anybody."""

    number: int
    external: str = ""
    noted: set[str] = field(default_factory=set)
    """Employees whose relation has the company noted: an added one has it from the start then."""

    @property
    def sort(self) -> str:
        return SORTS[self.number % len(SORTS)]

    @property
    def home(self) -> str:
        return home_of(self.number)

    @property
    def mobile(self) -> str:
        """The number by which a customer is found."""
        return f"137{self.number:08}"

    @property
    def company(self) -> str:
        """What is noted of his company; the normal form is `Players`' business, not the writer's."""
        place, shared = REGIONS.index(self.home), self.number // 60
        match self.sort:
            case "made":
                return f"示例新客{place}{shared:03}号（深圳）有限公司"
            case "joined":
                return f"示例老客{place}{shared:03}号贸易有限公司"
            case "unsure":
                return f"示例异地{place}{shared:03}号实业有限公司"
            case "core":
                return f"示例简称{place}{shared:03}号"
            case "colleague":
                return f"示例同行{place}{shared:03}号电子有限公司"
            case _:
                return ""


class Players:
    """Plays actions; ``done`` says which and how often. Time moves on by a second with each."""

    def __init__(self, sandbox: WeComSandbox, tick: Callable[[], None], *, people: int, seed: int) -> None:
        self.sandbox, self.corp, self._tick = sandbox, sandbox.corp, tick
        self.draw = random.Random(seed)
        self.people = [Person(number) for number in range(people)]
        self.pairs: list[tuple[str, Person]] = []
        """Pairs that were ever related, by userid."""
        self.halves: list[tuple[str, Person]] = []
        self.done: dict[str, int] = {}
        self._serial = 0
        self._table: tuple[tuple[int, Callable[[], bool]], ...] = (
            (20, self.add), (14, self.edit_remark), (14, self.edit_mobiles), (14, self.edit_tags),
            (8, self.edit_company), (11, self.delete_by_employee), (7, self.delete_by_customer), (9, self.add_again),
            (4, self.transfer), (3, self.rename_tag), (2, self.edit_person), (2, self.half), (1, self.accept),
            (1, self.swap_tag),
        )  # fmt: skip
        (made,) = sandbox.act(MakeTags(group_name=GROUP, names=[f"标签{n}" for n in range(10)], silent=True))
        self.tags: list[str] = list(made["tag_ids"].values())

    def settle_in(self, share: float = 0.5) -> None:
        """Put a share of the people there as if they had always been, followed by one or two employees."""
        for person in self.people:
            if self.draw.random() < share:
                for userid in self.draw.sample(self._staff(person), self.draw.choice((1, 1, 2))):
                    self._add(userid, person, silent=True)

    def play(self, count: int) -> None:
        """Do so many things."""
        weights = [weight for weight, _ in self._table]
        played = 0
        while played < count:
            (act,) = self.draw.choices([one for _, one in self._table], weights)
            if act():
                played += 1
                self.done[act.__name__] = self.done.get(act.__name__, 0) + 1

    # what they do --------------------------------------------------------------------------------------------

    def add(self) -> bool:
        """An employee and a person add each other for the first time."""
        person = self.draw.choice(self.people)
        userid = self.draw.choice(self._staff(person))
        if (userid, person) in self.pairs:
            return False
        self._add(userid, person)
        return True

    def add_again(self) -> bool:
        """Two who were parted, by either of them, add each other again."""
        pair = self._pair(lambda follow: follow is None or follow.stage == "one_way")
        if pair is None:
            return False
        self._add(*pair)
        return True

    def edit_remark(self) -> bool:
        """An employee writes another remark, with blanks around it at times."""
        remark = self.draw.choice((f"备注{self._next()}", f" 备注{self._next()} ", ""))
        return self._edit(remark=remark, description=self.draw.choice((None, f"说明{self._next()}")))

    def edit_mobiles(self) -> bool:
        """An employee writes other numbers, each in one of its spellings."""
        pair = self._pair(_is_there)
        return pair is not None and self._edit_pair(pair, remark_mobiles=self._mobiles(pair[1]))

    def edit_tags(self) -> bool:
        """An employee marks a relation with other tags."""
        return self._edit(tag_ids=self._tags())

    def edit_company(self) -> bool:
        """An employee notes the company."""
        pair = self._pair(_is_there)
        if pair is None or not pair[1].company or pair[1].sort == "colleague":
            return False
        pair[1].noted.add(pair[0])
        return self._edit_pair(pair, remark_corp_name=self._spelt(pair[1].company))

    def delete_by_employee(self) -> bool:
        """An employee removes a person, also one who removed him before."""
        pair = self._pair(_is_there)
        if pair is None:
            return False
        self._act(DeleteByEmployee(userid=pair[0], external_userid=pair[1].external))
        return True

    def delete_by_customer(self) -> bool:
        """A person removes an employee."""
        pair = self._pair(lambda follow: follow is not None and follow.stage == "normal")
        if pair is None:
            return False
        self._act(DeleteByCustomer(userid=pair[0], external_userid=pair[1].external))
        return True

    def transfer(self) -> bool:
        """A customer is handed over; the taker accepts before the day is over."""
        pair = self._pair(_is_there)
        if pair is None:
            return False
        giver, person = pair
        taker = self.draw.choice([one for one in self._staff(person) if one != giver])
        corp = self.corp
        row = Transfer(
            corp.new_number(), giver, taker, person.external, corp.seconds(), corp.seconds() + 86_400
        )
        corp.put(row, "transfer_customer", "api")
        if giver in person.noted:
            person.noted.add(taker)
        if (taker, person) not in self.pairs:
            self.pairs.append((taker, person))
        outcome = self.draw.choice(("done", "done", "done", "refused"))
        self._act(TransferOutcome(external_userid=person.external, outcome=outcome, now=True))
        return True

    def rename_tag(self) -> bool:
        """An administrator renames a tag: what carries it is told to nobody."""
        self._act(EditTag(id=self.draw.choice(self.tags), name=f"改名{self._next()}"))
        return True

    def swap_tag(self) -> bool:
        """An administrator deletes a tag and makes another."""
        old = self.tags.pop(self.draw.randrange(len(self.tags)))
        self._act(DeleteTags(tag_ids=[old]))
        (made,) = self._act(MakeTags(group_name=GROUP, names=[f"新标签{self._next()}"]))
        self.tags += made["tag_ids"].values()
        return True

    def edit_person(self) -> bool:
        """A person changes his own profile; the vendor tells nobody."""
        known = [one for one in self.people if one.external]
        if not known:
            return False
        person = self.draw.choice(known)
        self._act(
            EditPerson(
                external_userid=person.external, name=f"改名的人{self._next()}", gender=self._next() % 3
            )
        )
        return True

    def half(self) -> bool:
        """A person adds an employee, who has not accepted yet."""
        person = self.draw.choice(self.people)
        userid = self.draw.choice(self._staff(person))
        if (userid, person) in self.pairs:
            return False
        self._add(userid, person, half=True)
        self.halves.append((userid, person))
        return True

    def accept(self) -> bool:
        """The employee accepts."""
        if not self.halves:
            return False
        userid, person = self.halves.pop(self.draw.randrange(len(self.halves)))
        follow = self.corp.follow(userid, person.external)
        if follow is None or follow.stage != "half":
            return False
        self._act(Accept(userid=userid, external_userid=person.external))
        return True

    # how -----------------------------------------------------------------------------------------------------

    def _act(self, act: Act) -> list[dict[str, object]]:
        self._tick()
        return self.sandbox.act(act)  # type: ignore[return-value]

    def _add(self, userid: str, person: Person, *, silent: bool = False, half: bool = False) -> None:
        serial = self._next()
        noted = userid in person.noted or (person.sort in _NOTING and not half and self.draw.random() < 0.3)
        given = {"remark_corp_name": self._spelt(person.company)} if noted else {}
        if noted:
            person.noted.add(userid)
        colleague = person.sort == "colleague"
        (made,) = self._act(
            AddContact(
                userid=userid, external_userid=person.external, name=f" 人{person.number} ", type=2 if colleague else 1,
                gender=person.number % 3, position="采购经理" if colleague else "", silent=silent, half=half,
                corp_full_name=person.company if colleague else "", add_way=WAYS[serial % len(WAYS)],
                state=self.draw.choice(("", f"渠道{serial}")), remark_mobiles=self._mobiles(person) if serial % 3 else [],
                tag_ids=self._tags() if serial % 4 == 0 else [], **given,
            )
        )  # fmt: skip
        person.external = str(made["external_userid"])
        if (userid, person) not in self.pairs:
            self.pairs.append((userid, person))

    def _edit(self, **changes: object) -> bool:
        pair = self._pair(_is_there)
        return pair is not None and self._edit_pair(pair, **changes)

    def _edit_pair(self, pair: tuple[str, Person], **changes: object) -> bool:
        self._act(EditFollow(userid=pair[0], external_userid=pair[1].external, **changes))  # type: ignore[arg-type]
        return True

    def _pair(self, fits: Callable[[Follow | None], bool]) -> tuple[str, Person] | None:
        for _ in range(50):
            if not self.pairs:
                return None
            userid, person = self.draw.choice(self.pairs)
            follow = self.corp.follow(userid, person.external)
            if fits(follow):
                return userid, person
        return None

    def _staff(self, person: Person) -> list[str]:
        return [userid_of(number) for number in range(EMPLOYEES) if home_of(number) == person.home]

    def _mobiles(self, person: Person) -> list[str]:
        """Numbers nobody else has; the newest one comes once, so that no value swings back and forth."""
        new = f"13{person.number % 10000:04}{self._next() % 100_000:05}"
        mobiles = [self.draw.choice((new, f"+86 {new[:3]} {new[3:7]} {new[7:]}"))]
        if person.sort == "mobile" and self.draw.random() < 0.5:
            mobiles.append(person.mobile)
        return mobiles if self.draw.random() < 0.9 else []

    def _tags(self) -> list[str]:
        return self.draw.sample(self.tags, self.draw.choice((0, 1, 2, 2, 3, 3, 4)))

    def _spelt(self, company: str) -> str:
        """A company's name as people type it."""
        return self.draw.choice((company, company.replace("（", "(").replace("）", ")"), f" {company} "))

    def _next(self) -> int:
        self._serial += 1
        return self._serial


_NOTING = ("made", "joined", "unsure", "core")


def _is_there(follow: Follow | None) -> bool:
    return follow is not None and follow.stage != "half"
