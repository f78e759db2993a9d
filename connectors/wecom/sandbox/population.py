"""A population that is computed, not stored: 300,000 people cost no memory until somebody changes one.

Person ``p`` (0 ≤ p < people) has his ``o``-th follow under the number ``o * people + p``, with the employee
``(p + o) mod employees``: so pairs are distinct, and an employee's follows are an arithmetic progression.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from connectors.wecom.sandbox.rows import Department, Follow, Member, Person, Tag, TagGroup

__all__ = ["Population", "Spec"]

SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高郑梁谢宋唐许韩冯邓曹"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华建文玉兰红志鹏飞宇浩然子轩欣怡思雨佳琪晨梓涵雪梅春燕国庆晓东海波永康"
WORDS = "远景恒信瑞丰博雅华创盛世嘉禾金源宏图启明天成万象"
TRADES = ("科技", "贸易", "实业", "电子", "医疗器械", "教育咨询")
ADD_WAYS = (1, 1, 1, 2, 3, 4, 6, 9, 10, 16, 202)
SEED_GROUP = "etSeedGroup000000"
TAG_NAMES = ("展会", "官网", "转介绍", "老客户")
SPACE = 1 << 40
STEP = 0x9E3779B97F | 1
BACK = pow(STEP, -1, SPACE)
MOBILES = 1_000_000_000
MOBILE_STEP = 736_338_717  # no common factor with MOBILES: every person has a number of his own
YEARS = 2 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Spec:
    """How many people, follows and employees; the same spec is the same population, byte by byte."""

    people: int
    follows: int
    employees: int
    departments: int = 8
    seed: int = 0
    since: int = 1_672_531_200
    """Unix seconds of the earliest createtime; they spread over two years."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: fewer follows than people, or more than employees can hold.
        """
        if min(self.people, self.employees, self.departments) < 1:
            raise ValueError("people, employees and departments must be at least 1")
        if self.follows < self.people:
            raise ValueError("each person has at least one follow: follows must not be less than people")
        if self.follows > self.people * self.employees:
            raise ValueError("more follows than pairs of a person and an employee")
        if self.people >= SPACE:
            raise ValueError("too many people")


class Population:
    """The people and follows of a spec, by number, by id and by employee."""

    def __init__(self, spec: Spec) -> None:
        """Take the spec."""
        self.spec = spec
        self._places = {self.userid(number).lower(): number for number in range(spec.employees)}

    @staticmethod
    def userid(number: int) -> str:
        """Return the userid of the employee with this number."""
        return f"Sales{number:05d}"

    def departments(self) -> Iterator[Department]:
        """Return the departments the employees are in, below the root."""
        for number in range(self.spec.departments):
            yield Department(1001 + number, f"销售{number + 1}部", 1, 100000 - number)

    def members(self) -> Iterator[Member]:
        """Return the employees."""
        for number in range(self.spec.employees):
            place = 1001 + number % self.spec.departments
            yield Member(self.userid(number), self._name(number, 77), [place], place, "销售")

    def tag_group(self) -> tuple[TagGroup, list[Tag]]:
        """Return the tags some of the follows carry."""
        made = self.spec.since
        tags = [
            Tag(self._tag(number), SEED_GROUP, name, made, 10 - number)
            for number, name in enumerate(TAG_NAMES)
        ]
        return TagGroup(SEED_GROUP, "来源", made, 1), tags

    def external_userid(self, number: int) -> str:
        """Return the id of the person with this number."""
        return f"{'wo' if self._is_wecom(number) else 'wm'}Ab{(number * STEP + self.spec.seed) % SPACE:010x}"

    def number(self, external_userid: str) -> int | None:
        """Return the number of the person with this id, None when it is not one of ours."""
        try:
            drawn = int(external_userid[4:], 16)
        except ValueError:
            return None
        number = (drawn - self.spec.seed) * BACK % SPACE
        known = number < self.spec.people and self.external_userid(number) == external_userid
        return number if known else None

    def person(self, number: int) -> Person:
        """Return one person."""
        draw = self._mix(number, 1)
        found = Person(
            self.external_userid(number), self._name(number, 0), 2 if self._is_wecom(number) else 1, draw % 3,
            f"https://wx.qlogo.cn/mmhead/{draw % 10**12:012d}/0",
        )  # fmt: skip
        if found.type == 1:
            found.unionid = f"ozynqs{draw:022d}"[:28]
        else:
            found.corp_name = self._company(number)
            found.corp_full_name = f"{found.corp_name}有限公司"
            found.position = ("采购经理", "", "总经理")[draw % 3]
        return found

    def follow(self, serial: int) -> Follow:
        """Return one follow by its number."""
        ordinal, number = divmod(serial, self.spec.people)
        draw = self._mix(number, 2 + ordinal)
        userid = self.userid((number + ordinal) % self.spec.employees)
        made = Follow(
            serial, userid, self.external_userid(number), self.spec.since + draw % YEARS, oper_userid=userid,
            add_way=ADD_WAYS[draw % len(ADD_WAYS)],
        )  # fmt: skip
        if made.add_way == 10:
            made.wechat_channels = {"nickname": "示例视频号", "source": 1 + draw % 3}
        if made.add_way in (1, 16) and draw % 2:
            made.state = f"channel{draw % 5}"
        if draw // 7 % 2:
            made.remark = f"{self._name(number, 0)}-{self._company(number)}"[:20]
        if draw // 11 % 10 < 7:
            made.remark_mobiles = [f"13{(number * MOBILE_STEP + self.spec.seed) % MOBILES:09d}"]
        if draw // 13 % 5 == 0 and not self._is_wecom(number):
            made.remark_corp_name = f"{self._company(number)}有限公司"
        if draw // 17 % 3 == 0:
            made.tag_ids = [self._tag(draw % len(TAG_NAMES))]
        return made

    def serials_of_person(self, number: int) -> range:
        """Return the numbers of a person's follows."""
        return range(number, self.spec.follows, self.spec.people)

    def serial(self, userid: str, number: int) -> int | None:
        """Return the number of the follow of this pair, None when there is none."""
        place = self._places.get(userid.lower())
        if place is None:
            return None
        ordinal = (place - number) % self.spec.employees
        serial = ordinal * self.spec.people + number
        return serial if serial < self.spec.follows else None

    def serials_of_user(self, userid: str, after: int = -1) -> Iterator[int]:
        """Run over the numbers of an employee's follows in ascending order, those above ``after``."""
        place = self._places.get(userid.lower())
        if place is None:
            return
        people, employees = self.spec.people, self.spec.employees
        for ordinal in range(max(0, after) // people, -(-self.spec.follows // people)):
            first = ordinal * people
            end = min(first + people, self.spec.follows)
            start = first + (place - ordinal) % employees
            if start <= after:
                start += -(-(after + 1 - start) // employees) * employees
            yield from range(start, end, employees)

    def _mix(self, number: int, salt: int) -> int:
        value = (number * 0xBF58476D1CE4E5B9 + salt * 0x94D049BB133111EB + self.spec.seed) & (2**64 - 1)
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        return (value ^ value >> 27) * 0x94D049BB133111EB >> 3 & (2**61 - 1)

    def _is_wecom(self, number: int) -> bool:
        return number % 10 == 9

    def _name(self, number: int, salt: int) -> str:
        draw = self._mix(number, 100 + salt)
        given = GIVEN[draw // 31 % len(GIVEN)] + (GIVEN[draw // 2017 % len(GIVEN)] if draw % 4 else "")
        return SURNAMES[draw % len(SURNAMES)] + given

    def _company(self, number: int) -> str:
        draw = self._mix(number, 200)
        word = draw % (len(WORDS) // 2) * 2
        return f"示例{WORDS[word : word + 2]}{draw // 64 % 1000}{TRADES[draw // 8 % len(TRADES)]}"

    @staticmethod
    def _tag(number: int) -> str:
        return f"etSeedTag{number:08d}"
