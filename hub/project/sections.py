"""The parts of hub.yaml besides syncs: regions, owners, legal entities, kinds, connections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hub.errors import SettingsError
from hub.model.kinds import Kind
from hub.model.money import InvalidMoney, exponent
from hub.model.region import ancestors, region_path
from hub.project import references
from hub.project.exports import read_exports
from hub.project.files import Files
from hub.project.section import Section
from hub.project.values import (
    API,
    ORG_ROLES,
    Connection,
    ContactRules,
    KindRules,
    LegalEntity,
    MatchRule,
    Setting,
    TieRule,
)
from hub.sdk.net import Outbound, PrivateEntry, check_url, parse_url
from hub.sdk.spec import ConnectorSpec, SettingSpec

__all__ = [
    "CONNECTION_NAME",
    "DEFAULT_RULES",
    "read_admission",
    "read_connections",
    "read_entities",
    "read_files",
    "read_kinds",
    "read_owners",
    "read_regions",
]

CONNECTION_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
_LONGEST_NAME: Final = 80
TIES: Final = ("mobile", "company_name", "remark_company", "company_core")

DEFAULT_RULES: Final[Mapping[str, KindRules]] = MappingProxyType(
    {
        "customer": KindRules(
            "customer", (MatchRule(("uscc",), "sure"), MatchRule(("name",), "unsure", within_region=True))
        ),
        "contact": KindRules(
            "contact",
            (
                MatchRule(("wechat_unionid",), "sure"),
                MatchRule(("mobile",), "sure"),
                MatchRule(("email",), "unsure"),  # mailboxes are shared
            ),
        ),
        "contract": KindRules("contract", (MatchRule(("no",), "sure"),)),
        # Anybody may type our number into a form of an approval system: one not known by its xref is a candidate.
        "approval": KindRules("approval", (MatchRule(("no",), "unsure"),)),
    }
)
"""How records are recognised where hub.yaml says nothing; kinds without rules are known by their xref alone."""


def read_regions(top: Section) -> tuple[str, ...]:
    """Return the paths of the region tree, root first; each parent must be listed too."""
    found = [""]
    for text in top.texts("regions") or ():
        try:
            path = region_path(text)
        except ValueError as error:
            top.problem("regions", str(error))
            continue
        if path in found:
            top.problem("regions", f"{text!r} is there twice")
        elif parents := [parent for parent in ancestors(path)[:-1] if parent not in found]:
            top.problem("regions", f"{text!r}: its parent {parents[0]!r} must stand before it")
        else:
            found.append(path)
    return tuple(found)


Users = dict[tuple[str, str], str]


def read_owners(top: Section, regions: tuple[str, ...]) -> tuple[dict[str, str], Users, Users]:
    """Return owner -> region, (connection, user id there in lower case) -> owner, (connection, owner) -> user id as written.

    An owner is written ``li.lei: cn/south``, or with the names other systems know: ``li.lei: {region: cn/south,
    users: {wecom: LiLei}}``.
    """
    owners = top.section("owners")
    found: dict[str, str] = {}
    users: Users = {}
    user_ids: Users = {}
    for name in owners.names():
        if not owners.is_section(name):
            found[name] = owners.region(name, regions)
            continue
        one = owners.section(name)
        if one.has("region"):
            found[name] = one.region("region", regions)
        known = one.section("users")
        for connection in known.names():
            user = known.text(connection, required=True)
            user_ids[connection, name] = user or name
            before = users.setdefault((connection, (user or "").lower()), name)
            if before != name:
                known.problem(connection, f"{user!r} is {before} already")
        one.close()
    return found, users, user_ids


def read_entities(top: Section, connections: Mapping[str, Connection]) -> dict[str, LegalEntity]:
    """Return the legal-entity table."""
    found: dict[str, LegalEntity] = {}
    for name, section in top.each("entities"):
        if len(name) > _LONGEST_NAME or not name.isprintable():
            section.problem(None, f"a name of at most {_LONGEST_NAME} printable characters is expected")
        orgs = section.section("orgs")
        numbers = {role: number for role in ORG_ROLES if (number := orgs.text(role)) is not None}
        orgs.close()
        found[name] = LegalEntity(
            name=name,
            title=section.text("title", required=True) or name,
            connection=section.named("connection", connections, "connection"),
            orgs=numbers,
            currency=_currency(section),
            account_set=section.text("account_set"),
            accounts=_accounts(section, found),
        )
        section.close()
    return found


def _accounts(section: Section, others: Mapping[str, LegalEntity]) -> tuple[str, ...]:
    """Return a legal entity's bank accounts; none is that of two."""
    stated = tuple(section.texts("accounts") or ())
    for other in others.values():
        for account in set(stated) & set(other.accounts):
            section.problem("accounts", f"{account!r} is an account of {other.name} already")
    return stated


def _currency(section: Section) -> str:
    value = section.text("currency") or "CNY"
    try:
        exponent(value)
    except InvalidMoney as error:
        section.problem("currency", str(error))
        return "CNY"
    return value


def read_kinds(
    top: Section, regions: tuple[str, ...], kinds: Mapping[str, Kind]
) -> tuple[dict[str, KindRules], dict[str, tuple[str, ...]], ContactRules]:
    """Return the match rules and the admission fields per kind that hub.yaml states, and the rules of contacts."""
    rules = dict(DEFAULT_RULES)
    contacts = ContactRules()
    admission: dict[str, tuple[str, ...]] = {}
    for name, section in top.each("kinds"):
        kind = kinds.get(name)
        if kind is None:
            section.problem(None, f"there is no kind {name!r}", known=kinds, named=name)
            section.names()
            continue
        stated = section.items("match")
        if stated is not None:
            rules[name] = KindRules(name, tuple(_match_rule(item, kind) for item in stated))
        if section.has("admission"):
            admission[name] = read_admission(section, kind)
        if name == "contact":
            contacts = _contact_rules(section, regions)
        section.close()
    return rules, admission, contacts


def _contact_rules(section: Section, regions: tuple[str, ...]) -> ContactRules:
    default = ContactRules()
    stated = section.items("customer")
    return ContactRules(
        owner="latest"
        if section.choice("owner", ("earliest", "latest"), "earliest") == "latest"
        else "earliest",
        owner_regions=section.regions("owner_regions", regions),
        customer=default.customer if stated is None else tuple(_tie_rule(item) for item in stated),
        create=section.flag("create_customer", default=default.create),
    )


def _tie_rule(section: Section) -> TieRule:
    by = section.choice("by", TIES, TIES[0])
    within = section.choice("within", ("region", "everywhere"), "everywhere") == "region"
    sure = section.choice("confidence", ("sure", "unsure"), "unsure") == "sure"
    if sure and by == "company_core":
        section.problem(
            "confidence", "what people call a company is never sure: namesakes and subsidiaries share it"
        )
    section.close()
    return TieRule(by, "sure" if sure else "unsure", within_region=within)  # type: ignore[arg-type]  # one of TIES


def read_admission(section: Section, kind: Kind) -> tuple[str, ...]:
    """Return the fields that ``admission: [..]`` asks for; an empty list admits everything."""
    fields = section.texts("admission") or []
    for name in fields:
        if kind.field(name) is None:
            section.problem(
                "admission", f"{name!r} is not a field of {kind.name}", known=kind.names(), named=name
            )
    return tuple(fields)


def _match_rule(section: Section, kind: Kind) -> MatchRule:
    keys = (*kind.strong_keys, *kind.match_keys)
    fields = section.texts("by") or []
    if not fields:
        section.problem(None, "by: a list of key fields is expected")
    for name in fields:
        if name not in keys:
            section.problem(
                "by", f"{name!r} is no key field of {kind.name}: {', '.join(keys)}", known=keys, named=name
            )
    within = section.choice("within", ("region", "everywhere"), "everywhere") == "region"
    sure = section.choice("confidence", ("sure", "unsure"), "unsure") == "sure"
    section.close()
    return MatchRule(tuple(fields), "sure" if sure else "unsure", within_region=within)


def read_connections(
    top: Section,
    specs: Mapping[str, ConnectorSpec],
    regions: tuple[str, ...],
    root: Path,
    kinds: Mapping[str, Kind],
) -> dict[str, Connection]:
    """Return the connections; the settings of each are checked against its connector's spec, its exports against the kinds."""
    found = {}
    for name, section in top.each("connections"):
        if not CONNECTION_NAME.fullmatch(name):
            section.problem(None, "a connection's name is lower-case letters, digits, - and _ (40 at most)")
        connector = section.named("connector", {API, *specs}, "installed connector", required=True)
        outbound = _outbound(section, root) if connector != API else Outbound()
        spec = specs.get(connector or "")
        settings = _settings(section.section("settings"), spec, outbound) if connector != API else {}
        if connector is None:
            section.names()
        found[name] = Connection(
            name=name,
            connector=connector or "",
            kind="api" if connector == API else "vendor",
            settings=settings,
            outbound=outbound,
            region=section.region("region", regions),
            entity=section.text("entity"),
            foreign=section.flag("foreign") or (spec is not None and spec.foreign),
            exports=read_exports(section, regions, kinds),
        )
        section.close()
    return found


def read_files(top: Section, root: Path) -> Files | None:
    """Return where files of records lie that approvers are shown, None if hub.yaml does not say."""
    if not top.has("files"):
        return None
    section = top.section("files")
    default = Files()
    hosts = []
    for text in section.texts("hosts") or ():
        try:
            checked = parse_url(f"https://{text}/")
            if checked.port != 443 or checked.path != "/":
                raise SettingsError(f"{text!r}: a host alone is expected, such as files.example.com")
            hosts.append(checked.host)
        except SettingsError as error:
            section.problem("hosts", str(error))
    stated = section.text("authorization")
    secret = None if stated is None else references.secret_of(stated)
    if stated is not None and secret is None:
        section.problem("authorization", "a secret never stands in hub.yaml: write ${secret:name}")
    files = Files(
        hosts=tuple(hosts),
        outbound=_outbound(section, root),
        days=section.integer("days", default.days, low=1, high=365),
        after_end=section.integer("after_end", default.after_end, low=0, high=365),
        authorization=secret,
    )
    section.close()
    return files


def _outbound(section: Section, root: Path) -> Outbound:
    entries = [entry for item in section.items("allow") or () if (entry := _private(item)) is not None]
    ca_file = section.text("ca_file")
    path = None if ca_file is None else root / ca_file
    if path is not None and not path.is_file():
        section.problem("ca_file", f"there is no file {ca_file}")
        path = None
    return Outbound(private=tuple(entries), ca_file=path)


def _private(item: Section) -> PrivateEntry | None:
    host, port = item.text("host", required=True), item.integer("port", 0, low=1, high=65535)
    network, plain_http = item.text("network"), item.flag("plain_http")
    item.close()
    if host is None or not port:
        if host is not None and not item.has("port"):
            item.problem(None, "port is missing: one exact port")
        return None
    try:
        return PrivateEntry.parse(f"{host}:{port}", network, plain_http=plain_http)
    except SettingsError as error:
        item.problem(None, str(error))
        return None


def _settings(section: Section, spec: ConnectorSpec | None, outbound: Outbound) -> dict[str, Setting]:
    if spec is None:
        section.names()
        return {}
    found: dict[str, Setting] = {}
    for setting in spec.settings:
        text = section.text(setting.name, required=setting.required and setting.default is None)
        if text is not None and (value := _setting(section, setting, text, outbound)) is not None:
            found[setting.name] = value
    section.close()
    return found


def _setting(section: Section, setting: SettingSpec, text: str, outbound: Outbound) -> Setting | None:
    wrong = references.malformed(text)
    if wrong is not None:
        section.problem(setting.name, f"{wrong} is no reference: write ${{secret:name}} or ${{env:NAME}}")
        return None
    if setting.type == "secret" and not references.is_reference(text):
        section.problem(
            setting.name, "a secret never stands in hub.yaml: write ${secret:name}, then hub secrets set name"
        )
        return None
    if "${" in text:
        return text
    try:
        if setting.type == "url":
            check_url(text, outbound)
        return references.convert(setting, text)
    except (SettingsError, ValueError) as error:
        section.problem(setting.name, str(error))
        return None
