"""A mapping file to a :class:`Compiled`: every name and type checked, then one Python function.

The border of this package is :func:`compile` and :meth:`Compiled.run`; both are pure.
"""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from hub.mapping.draft import Draft, Part, Rule, read_draft
from hub.mapping.expression import Expression, Scope, Term, mentioned
from hub.mapping.generate import Fails, Step, Translated, Variant, generate, reads_of
from hub.mapping.lint import unfit
from hub.mapping.outcome import Context, Failed, Outcome
from hub.mapping.problems import MappingInvalid, Problem, nearest
from hub.mapping.regional import misplaced_rules
from hub.mapping.runtime import coercion
from hub.mapping.schema import Schemas, Shape, accepts, advice, spoken
from hub.mapping.strict_yaml import load_yaml
from hub.mapping.translate import translate
from hub.model.fields import Field
from hub.model.record import Json
from hub.model.region import ancestors

__all__ = ["Compiled", "CompiledField", "compile"]

_MOST_SHOWN = 160


@dataclass(frozen=True, slots=True)
class CompiledField:
    """One target field: the source fields its value depends on, its type at the target, its line in the file."""

    name: str
    reads: frozenset[str]
    type: str
    line: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A mapping, ready to run.

    ``digest``: over the text and the value maps it uses. ``key_fields``: inbound, the source fields of the vendor's key. ``fields``: by the
    name written in the file, in its order. ``xrefs``: the objects it looks up, its dependencies; ``value_maps``: the
    tables. ``reads``: every source field it uses, ``when_reads`` those of ``when``.
    """

    name: str
    source: str
    target: str
    direction: Literal["in", "out"]
    digest: str
    key_fields: tuple[str, ...]
    fields: Mapping[str, CompiledField]
    xrefs: tuple[str, ...]
    value_maps: tuple[str, ...]
    reads: frozenset[str]
    when_reads: frozenset[str]
    variants: Mapping[str, Variant]

    def when(self, source: Json, context: Context) -> bool | Failed:
        """Tell whether the record is inside the mapping's ``when``."""
        return self._variant(context.region).when(source, context)

    def due(self, changed: Collection[str]) -> frozenset[str]:
        """Return the target fields that depend on one of these source fields."""
        moved = frozenset(changed)
        return frozenset(name for name, found in self.fields.items() if not moved.isdisjoint(found.reads))

    def run(self, source: Json, context: Context, *, only: Collection[str] | None = None) -> Outcome:
        """Map one record; with ``only`` just these target fields.

        Returns ``Left`` outside ``when``, ``Wait`` when a look-up must wait, ``Failed`` with the field that could not be mapped.
        """
        variant = self._variant(context.region)
        if only is None:
            return variant.run(source, context)
        return variant.part(source, context, frozenset(only))

    def _variant(self, region: str) -> Variant:
        variants = self.variants
        if len(variants) == 1:
            return variants[""]
        return next(variants[path] for path in reversed(ancestors(region)) if path in variants)


def compile(text: str, schemas: Schemas, *, file: str) -> Compiled:  # noqa: A001 - the border's name is fixed
    """Check a mapping against the shapes of its source and target and compile it.

    Raises:
        YamlInvalid: not strict YAML.
        MappingInvalid: every mistake found, with file, line, column, field and nearest known name.
    """
    draft = read_draft(load_yaml(text, file=file))
    return _Compiler(draft, schemas, text).compiled()


class _Compiler:
    """Checks one draft; collects what its expressions read and look up."""

    def __init__(self, draft: Draft, schemas: Schemas, text: str) -> None:
        self._draft = draft
        self._schemas = schemas
        self._text = text
        self._problems: list[Problem] = list(draft.problems)
        self._source = self._shape(schemas.sources, "source", draft.source)
        self._target = self._shape(schemas.targets, "target", draft.target)
        self._kind = schemas.kind(draft.target)
        self._xrefs: dict[str, None] = {}
        self._maps: set[str] = set()

    def _shape(self, known: Mapping[str, Mapping[str, str]], side: str, name: str) -> Shape:
        if name not in known:
            found = self._draft.document.problem(
                (side,), f"there is no {side} {name!r}", nearest=nearest(name, known)
            )
            self._problems.append(found)
            raise MappingInvalid(self._sorted())
        return Shape(name, known[name])

    def _sorted(self) -> list[Problem]:
        return sorted(dict.fromkeys(self._problems), key=lambda problem: (problem.line, problem.column))

    def compiled(self) -> Compiled:
        draft = self._draft
        translated = {region: self._translate(region) for region in self._regions()}
        if self._kind is not None:
            self._problems += misplaced_rules(draft, self._kind)
        if self._problems:
            raise MappingInvalid(self._sorted())
        fields = self._fields(translated)
        reads = {name: found.reads for name, found in fields.items()}
        variants = {
            region: generate(found, _failing(reads), file=draft.document.file)
            for region, found in translated.items()
        }
        plain = translated[""]
        when_reads = plain.when.reads if plain.when else frozenset()
        keys = [sorted(term.reads) for term in plain.keys]
        return Compiled(
            name=draft.name,
            source=draft.source,
            target=draft.target,
            direction=draft.direction,
            digest=self._digest(),
            key_fields=tuple(name for names in keys for name in names),
            fields=MappingProxyType(fields),
            xrefs=tuple(self._xrefs),
            value_maps=tuple(sorted(self._maps)),
            reads=frozenset().union(when_reads, *keys, *reads.values()),
            when_reads=when_reads,
            variants=MappingProxyType(variants),
        )

    def _regions(self) -> list[str]:
        return list(dict.fromkeys(["", *self._draft.overlays]))

    def _digest(self) -> str:
        parts = [self._text, *(self._schemas.value_maps[name].digest for name in sorted(self._maps))]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    # ---------------------------------------------------------------- one region

    def _translate(self, region: str) -> Translated:
        draft = self._draft
        lets, rules = dict(draft.lets), dict(draft.rules)
        for path in ancestors(region):
            if overlay := draft.overlays.get(path):
                lets |= overlay.lets
                rules |= overlay.rules
        terms: dict[str, Term] = {}
        scope = Scope(self._source, self._schemas, terms, {}, self._problems, self._xrefs, self._maps)
        for name in self._ordered(lets):
            terms[name] = translate(lets[name], scope)
        when = translate(draft.when, scope) if draft.when else None
        keys = [translate(key, scope) for key in draft.keys]
        self._check_names(rules)
        steps = {name: self._steps(rule, rules, scope) for name, rule in rules.items()}
        return Translated(terms, when, keys, steps, scope.constants)

    def _ordered(self, lets: Mapping[str, Expression]) -> list[str]:
        """Order lets so that each comes after those it uses; refuse circles and names that mean something else."""
        done: list[str] = []
        open_: list[str] = []

        def follow(name: str) -> None:
            if name in done:
                return
            if name in open_:
                circle = " → ".join([*open_[open_.index(name) :], name])
                self._problems.append(
                    lets[name].problem(lets[name].tree, f"goes round in a circle: {circle}")
                )
                return
            open_.append(name)
            for other in mentioned(lets[name].tree, lets):
                follow(other)
            open_.pop()
            done.append(name)

        for name, expression in lets.items():
            if self._source.type(name) or name == "missing":
                found = self._draft.document.problem(
                    expression.path, f"{name!r} already means something", at_key=True
                )
                self._problems.append(found)
            follow(name)
        return done

    # ---------------------------------------------------------------- fields

    def _check_names(self, rules: Mapping[str, Rule]) -> None:
        for name, rule in rules.items():
            parents = {name[:index] for index, letter in enumerate(name) if letter == "."}
            if not self._target.is_crm and parents & rules.keys():
                self._refuse(rule, f"{min(parents & rules.keys())!r} is given as a whole already")
            if rule.with_field is not None and rule.with_field not in rules:
                self._refuse(
                    rule, f"goes with {rule.with_field!r}, which is not here", nearest(rule.with_field, rules)
                )

    def _refuse(self, rule: Rule, message: str, near: str | None = None) -> None:
        self._problems.append(self._draft.document.problem(rule.path, message, nearest=near, at_key=True))

    def _steps(self, rule: Rule, rules: Mapping[str, Rule], scope: Scope) -> list[Step]:
        companion = frozenset[str]()
        if rule.with_field is not None and rule.with_field in rules:
            terms = [translate(part.expression, scope) for part in rules[rule.with_field].parts]
            companion = frozenset().union(*(term.reads for term in terms))
        steps = (self._step(rule, part, companion, scope) for part in rule.parts)
        return [step for step in steps if step]

    def _step(self, rule: Rule, part: Part, companion: frozenset[str], scope: Scope) -> Step | None:
        name = part.name if part.row is None else f"{rule.name}[].{part.name}"
        field_type = self._target.type(name)
        if field_type is None or self._target.has_fields(name):
            self._unknown(rule, part, name, field_type)
            return None
        term = translate(part.expression, scope)
        self._check_types(part, term, field_type)
        is_crm = self._target.is_crm
        proven = (
            is_crm
            and term.proves == field_type
            and field_type not in ("text", "company", "choice", "currency")
        )
        coerce = None if proven else coercion(self._field(name), field_type)
        if coerce and (found := unfit(part.expression, coerce)):
            self._problems.append(found)
        return Step(
            name=name if part.row is None else f"{rule.name}[{part.row}].{part.name}",
            place=self._place(rule, part),
            term=Term(term.code, term.types, term.proves, term.reads | companion, term.uses),
            coerce=coerce,
            plain=self._plain(name, field_type),
        )

    def _field(self, name: str) -> Field | None:
        """Return the CRM's field of this name, None at a vendor."""
        return self._kind.field(name) if self._kind is not None else None

    def _plain(self, name: str, field_type: str) -> str:
        """Return when a value is in the target's form as it stands; a printable text holds no NUL and no half surrogate."""
        if not self._target.is_crm:
            return "v.__class__ is str" if field_type == "text" else ""
        field = self._field(name)
        if field is not None and field.type == "choice":
            return f"v in {field.choices!r}"
        if field is not None and not field.columns and field.type in ("text", "company", "json"):
            return f"v.__class__ is str and len(v) <= {field.max_length} and v.isprintable()"
        return ""

    def _unknown(self, rule: Rule, part: Part, name: str, field_type: str | None) -> None:
        path = rule.path if part.row is None else part.expression.path
        if field_type is None:
            message, near = f"is not a field of {self._target.name}", nearest(name, self._target.names())
        else:
            below = next(
                (known for known in self._target.names() if known.startswith((f"{name}.", f"{name}[]"))), ""
            )
            message, near = "holds fields of its own; give those", below
        self._problems.append(self._draft.document.problem(path, message, nearest=near or None, at_key=True))

    def _place(self, rule: Rule, part: Part) -> tuple[str | int, ...]:
        if self._target.is_crm:
            return (part.name,)
        steps = tuple(part.name.split("."))
        return steps if part.row is None else (*rule.name.split("."), part.row, *steps)

    def _check_types(self, part: Part, term: Term, field_type: str) -> None:
        is_crm = self._target.is_crm
        wrong = sorted(name for name in term.types if not accepts(field_type, name, is_crm=is_crm))
        if wrong:
            message = f"{spoken(frozenset(wrong))} does not go into a field of type {field_type}"
            message += advice(field_type, wrong[0])
            self._problems.append(part.expression.problem(part.expression.tree, message))

    def _fields(self, translated: Mapping[str, Translated]) -> dict[str, CompiledField]:
        fields: dict[str, CompiledField] = {}
        for found in translated.values():
            for name, steps in found.rules.items():
                before = fields[name].reads if name in fields else frozenset[str]()
                line = self._draft.document.key(self._path_of(name)).line
                field_type = self._target.type(name) or "json"
                fields[name] = CompiledField(name, before | reads_of(steps), field_type, line)
        return fields

    def _path_of(self, name: str) -> tuple[str | int, ...]:
        if name in self._draft.rules:
            return self._draft.rules[name].path
        return next(
            overlay.rules[name].path for overlay in self._draft.overlays.values() if name in overlay.rules
        )


# Shortens while it walks: a source may be huge or nested without end.
_SHOW = reprlib.Repr()
_SHOW.maxstring = _SHOW.maxother = 60
_SHOW.maxlevel = _SHOW.maxlist = _SHOW.maxdict = 3


def _failing(reads: Mapping[str, frozenset[str]]) -> Fails:
    """Return what turns an exception into a :class:`Failed` that shows the values the field has read."""

    def fails(field: str, error: Exception, source: Json) -> Failed:
        message = (
            str(error) if isinstance(error, ValueError) else "these values cannot be compared or combined"
        )
        values = source if isinstance(source, dict) else {}
        names = sorted(reads.get(field.partition("[")[0], ()))
        shown = [f"{name}={_SHOW.repr(values[name])}" for name in names if name in values]
        return Failed(field, message, ", ".join(shown)[:_MOST_SHOWN])

    return fails
