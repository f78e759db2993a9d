"""What ``hub mapping preview`` and ``hub mapping shadow`` say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["TRIAL"]

TRIAL: Final[Mapping[str, tuple[str, str]]] = {
    "help.mapping.preview": (
        "预览：草稿（目录里的文件）会把真实记录变成什么，个人信息脱敏；--watch 随编辑刷新。什么都不写、不发。",
        "What the draft (the file in the folder) makes of real records, personal data masked; --watch shows it anew while the file is edited. Nothing is written or sent.",
    ),
    "help.mapping.shadow": (
        "影子运行：草稿与生效的映射在最近 N 条记录上的差异：未变、变化（列出）、失败、新的等待、被 when 排除。什么都不写、不发。退出码：有变化也是 0；草稿在生效映射不失败的记录上失败时为 1。",
        "The draft beside what is in force over the last N records: unchanged, changed (listed), failing, newly waiting, left by `when`. Nothing is written or sent. Exit code: 0 also when records change; 1 if the draft fails on a record on which the mapping in force does not.",
    ),
    "opt.trial.name": ("映射名称（kingdee/customer.out）或其文件路径", "mapping (kingdee/customer.out), or the path of its file"),
    "opt.trial.record": ("只看这条记录：其编号，或对方的编号", "this record alone: its id, or the vendor's"),
    "opt.trial.sample": ("JSON 文件：一个来源对象，或其列表", "JSON file: one source object, or a list of them"),
    "opt.trial.case": ("映射旁的一个用例", "a case beside the mapping, by its name"),
    "opt.trial.n": ("几条记录", "how many records"),
    "opt.trial.watch": ("文件、值映射、用例或样本一变就刷新；Ctrl-C 结束", "show it anew when the file, a value map, its cases or the sample change; Ctrl-C ends"),
    "opt.trial.last": ("每个集成流最近多少条记录", "how many records of each sync, the last changed"),
    "opt.trial.read": ("入站：总线上没有的，向对方只读查询（计入其配额）", "inbound: what the bus no longer has is read from the vendor, counted against its budgets"),
    "trial_one": ("--record、--sample、--case 只用其一", "one of --record, --sample and --case"),
    "trial_unused": ("{name}：没有集成流使用它；用 --sample 或 --case 预览", "{name}: no sync uses it; preview it with --sample or --case"),
    "trial_no_force": ("{name}：还没有生效的修订可比较；请用 hub mapping preview", "{name}: nothing of it is in force to compare with; see hub mapping preview"),
    "trial_sample": ("样本 {file}：{why}", "sample {file}: {why}"),
    "trial_sample_form": ("不是 JSON 对象或对象的列表", "is not a JSON object or a list of them"),
    "trial_none": ("没有记录：{syncs}", "no records: {syncs}"),
    "trial_read_hint": (
        "{sync}：总线上有 {found} 条（要 {wanted} 条）；加 --read 则向 {connection} 查询其余的，最多 {reads} 次只读调用",
        "{sync}: the bus has {found} of {wanted} records; with --read the others are asked of {connection}, at most {reads} reads",
    ),
    "trial_reads": ("{connection}：将做 {count} 次只读调用", "{count} reads at {connection}"),
    "trial_read_end": ("{connection}：只读了 {count} 条：{why}", "{connection}: {count} were read: {why}"),
    "trial_budget": ("连接或集成流暂停，或配额已用完", "the connection or its sync is paused, or its budget is used up"),
    "trial_head": ("{name}：草稿，与生效的修订 {number} 对照", "{name}: the draft, beside revision {number} in force"),
    "trial_head_new": ("{name}：草稿，尚无生效的修订", "{name}: the draft; nothing of it is in force"),
    "trial_record": ("记录 {record}", "record {record}"),
    "trial_left": ("在 when 之外", "outside `when`"),
    "trial_waits": ("等待 {what}", "waits for {what}"),
    "trial_fails": ("失败：{why}", "fails: {why}"),
    "trial_absent": ("—", "—"),
    "trial_same": ("相同", "same"),
    "trial_new": ("新字段", "new field"),
    "trial_gone": ("不再映射", "not mapped any more"),
    "trial_was": ("原为 {old}", "was {old}"),
    "trial_masked": ("（脱敏，值不同）", "(masked, they differ)"),
    "trial_watching": ("看着 {file}；Ctrl-C 结束", "watching {file}; Ctrl-C ends"),
    "trial_problems": ("草稿有 {count} 个问题", "the draft has {count} problems"),
    "trial_more": ("…… 另有 {count} 条（--output json 全部列出）", "… and {count} more (--output json lists all)"),
    "trial_counts": (
        "{records} 条记录：未变 {unchanged} · 变化 {changed} · 失败 {failing} · 新的等待 {waiting} · 被 when 排除 {left} · 现在能映射 {mended}",
        "{records} records: {unchanged} unchanged · {changed} changed · {failing} failing · {waiting} newly waiting · {left} left by `when` · {mended} mapped now",
    ),
    "trial_broke": ("草稿在 {count} 条记录上失败，而生效的映射不失败", "the draft fails on {count} records on which the mapping in force does not"),
    "trial_changed": ("变化", "changed"),
    "trial_failing": ("失败", "failing"),
    "trial_waiting": ("新的等待", "newly waiting"),
    "trial_mended": ("现在能映射", "mapped now"),
    "trial_left_list": ("被 when 排除", "left by `when`"),
    "trial_already": ("原来也失败", "failed before too"),
    "head.record": ("记录", "record"),
    "head.source": ("来源值", "source"),
    "head.in_force": ("生效的", "in force"),
    "head.old": ("原", "old"),
    "head.new": ("新", "new"),
    "head.records": ("记录数", "records"),
}  # fmt: skip
"""Merged into :data:`hub.cli.texts.TEXTS`."""
