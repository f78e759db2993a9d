"""What the commands of a mapping's life say: publish, history, rollback; and what tells of drafts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["LIFE"]

LIFE: Final[Mapping[str, tuple[str, str]]] = {
    "help.mapping.publish": (
        "发布：把目录里的映射、值映射、字段定义一起检查、跑用例，然后生效；运行中的中枢几秒内采用，无需重启。",
        "Publish mappings, value maps and field files of the folder: checked together, their cases run, then in force; running processes take them up within seconds.",
    ),
    "help.mapping.history": (
        "一个文本的各修订：何时、谁、为何。",
        "The revisions of a text: when, by whom, why.",
    ),
    "help.mapping.rollback": (
        "让较早的修订重新生效（成为新的修订）。",
        "Put an earlier revision in force again, as a new one.",
    ),
    "opt.text.names": (
        "映射（kingdee/customer.out）、值映射（kingdee.customer_group）、字段定义（field:customer），或其文件路径",
        "mapping (kingdee/customer.out), value map (kingdee.customer_group), field file (field:customer), or its path",
    ),
    "opt.text.all": ("发布所有草稿", "every draft"),
    "opt.text.note": ("为何（记入审计）", "why; the act keeps it"),
    "opt.text.to": ("回到哪个修订；默认上一个", "revision to go back to; default: the one before"),
    "life_note": ("请用 --note 说明为何：记入审计", "say why with --note: the act keeps it"),
    "life_which": (
        "请说明发布什么，或用 --all。草稿：{drafts}",
        "say what to publish, or --all. Drafts: {drafts}",
    ),
    "life_nothing": ("没有草稿：目录里的就是生效的", "nothing to publish: the folder holds what is in force"),
    "life_same": ("{name}：已是生效的修订 {number}", "{name}: is in force as revision {number} already"),
    "life_unused": (
        "{name}：生效的 hub.yaml 没有集成流使用它；hub.yaml 与它在下次启动时一起发布",
        "{name}: no sync of the hub.yaml in force uses it; the next start publishes both",
    ),
    "life_never": (
        "还没有任何修订生效：第一次 hub up 发布整个目录",
        "nothing is in force yet: the first hub up publishes the folder",
    ),
    "life_problems": ("未发布：{count} 个问题", "nothing was published: {count} problems"),
    "life_lies_there": (
        "{file} 还未发布：请一起发布（{name}）",
        "{file} is not published yet: name it too ({name})",
    ),
    "life_overtaken": (
        "未发布：检查期间有人发布了 {names}。请再看一眼，然后重试",
        "nothing was published: somebody published {names} while this was checked. Look at it, then try again",
    ),
    "life_published": ("{name}：修订 {number} 生效", "{name}: revision {number} is in force"),
    "life_follows": (
        "{name}：修订 {number}（文本未变，所用的表变了）",
        "{name}: revision {number} (the same text; a table it uses changed)",
    ),
    "life_taken_up": (
        "运行中的中枢几秒内采用；已发出的请求仍按各自的修订结束。已有记录在下次变化时才按新规则发送",
        "running processes take it up within seconds; what is under way ends with the revision it began with. A record goes out by the new rules when it next changes",
    ),
    "life_in_force": ("生效", "in force"),
    "life_back_to": ("回到 {number}", "back to {number}"),
    "life_by": ("因 {names}", "by {names}"),
    "head.revision": ("修订", "revision"),
    "head.at": ("时间", "at"),
    "head.by": ("谁", "by"),
    "head.note": ("说明", "note"),
    "head.digest": ("摘要", "digest"),
    "life_no_revision": ("{name} 没有修订 {number}", "{name} has no revision {number}"),
    "life_no_earlier": ("{name} 没有更早的文本", "{name} has no earlier text"),
    "life_rollback_of_rollback": (
        "{name} 的修订 {number} 本身就是回退（回到 {back_to}）：请用 --to 说明回到哪个",
        "revision {number} of {name} is itself a rollback (to {back_to}): say with --to where to go",
    ),
    "life_other_text": (
        "{name} 的修订 {number} 与上一个文本相同，只是 {names} 变了：请回退那个",
        "revision {number} of {name} has the same text as the one before; {names} changed: roll that back",
    ),
    "life_file_written": ("{file}：已写回修订 {number} 的文本", "{file}: holds the text of revision {number} again"),
    "life_file_left": (
        "{file}：未改动，它已不是被回退的文本；它是草稿",
        "{file}: left alone, it holds another text than the one rolled back; it is a draft",
    ),
    "life_file_gone": ("{name}：目录里没有它的文件", "{name}: the folder has no file of it"),
    "life_file_failed": (
        "{file}：写不进去（{why}）；它成了草稿，下次发布会把坏文本带回来",
        "{file}: cannot be written ({why}); it is a draft now, and publishing it would bring the bad text back",
    ),
    "draft": (
        "草稿，未发布：{name}（hub mapping publish {name} --note …）",
        "draft, not published: {name} (hub mapping publish {name} --note …)",
    ),
    "no_file": (
        "{name} 生效（修订 {number}），但目录里没有它的文件",
        "{name} is in force (revision {number}), and the folder has no file of it",
    ),
}  # fmt: skip
"""Merged into :data:`hub.cli.texts.TEXTS`."""
