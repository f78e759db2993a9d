"""What `hub tokens` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["ACCESS"]

ACCESS: Final[Mapping[str, tuple[str, str]]] = {
    "help.tokens": ("接口令牌：创建、列出、撤销。", "API tokens: create, list, revoke."),
    "help.tokens.create": (
        "创建令牌；只显示这一次，库中只存摘要。",
        "Make a token; it is shown this once, the store keeps a digest.",
    ),
    "help.tokens.list": ("列出令牌：角色、范围、有效期、最近使用。", "List tokens: roles, scope, expiry, last use."),
    "help.tokens.revoke": ("撤销令牌，立即生效，不可恢复。", "Take a token out of use, at once and for good."),
    "opt.token": ("令牌名称", "name of the token"),
    "opt.token.role": ("角色：admin 管理员、integrator 集成、operator 运维、auditor 审计；可多次", "admin, integrator, operator or auditor; may be given more than once"),
    "opt.token.region": ("只看这些大区及其下级（如 cn/south）；可多次；默认全集团", "only this region and below (such as cn/south); may be given more than once; default: all"),
    "opt.token.entity": ("只看这些签约主体；可多次；默认全部", "only this legal entity; may be given more than once; default: all"),
    "opt.token.owner": ("只看该负责人的记录", "only the records of this owner"),
    "opt.token.from": ("只允许从该地址或网段使用；可多次；默认任意", "may be used only from this address or network; may be given more than once; default: any"),
    "opt.token.days": ("有效天数", "days until it expires"),
    "opt.token.rate": ("每秒最多请求数", "requests per second at most"),
    "done.token": (
        "令牌 {name} 已创建，{expires} 到期。请现在保存，之后不再显示：",
        "token {name} is made, it expires {expires}. Keep it now, it is not shown again:",
    ),
    "token_closed": (
        "从现在起，本机的请求也需要令牌。",
        "From now on callers of this machine need a token, too.",
    ),
    "done.token_revoked": ("令牌 {name} 已撤销", "token {name} is revoked"),
    "tokens_none": (
        "还没有令牌：只监听本机时，本机的请求按管理员处理；创建第一个令牌后都需要令牌（hub tokens create）",
        "no token yet: while the hub listens on this machine alone, its callers count as the administrator; the first token ends that (hub tokens create)",
    ),
    "token_region": ("大区树中没有 {region}", "there is no region {region} in the tree"),
    "token_entity": ("没有签约主体 {entity}", "there is no legal entity {entity}"),
    "token_address": ("{address} 不是 IP 地址或网段", "{address} is not an IP address or network"),
    "token.revoked": ("已撤销", "revoked"),
    "token.expired": ("已过期", "expired"),
    "token.in_force": ("有效", "in force"),
    "token.all": ("全集团", "all"),
    "head.roles": ("角色", "roles"),
    "head.scope": ("范围", "scope"),
    "head.used": ("最近使用", "last used"),
    "access_open": (
        "尚无令牌：本机的请求按管理员处理。对外服务前请运行 hub tokens create",
        "no token yet: callers of this machine count as the administrator. Before others may call: hub tokens create",
    ),
    "access_nobody": (
        "尚无令牌，且监听地址不只限本机：接口对所有请求应答 401。请运行 hub tokens create",
        "no token yet, and the listener is not of this machine alone: the API answers 401 to everybody. Run hub tokens create",
    ),
}  # fmt: skip
"""Merged into :data:`hub.cli.texts.TEXTS`."""
