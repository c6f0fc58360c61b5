"""The SQL subset: from a syntax tree to one whose names and types are known.

The table at the end of this module is the second of two gates (the first is sql_syntax.py): a node that
is not in it is refused, and so is a part of a node that its row does not name.  Refused is also what
could leave the digits that DuckDB has (sql_types.py), so that no evaluation fails on what people's data is.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from veilmatch_policy.column_types import LARGEST_PRECISION, exact_number, iso_date
from veilmatch_policy.errors import quoted
from veilmatch_policy.sql_types import (
    BOOLEAN,
    DATE,
    FINEST_SCALE,
    INTEGER,
    LONGEST,
    Part,
    common_type,
    convert,
    largest,
    literal,
    magnitude,
    number_of_scale,
    part_of,
    sql_type,
    type_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from veilmatch_policy.catalog import Table
    from veilmatch_policy.column_types import CellValue, ColumnType
    from veilmatch_policy.sql_scope import Scope


def bind_tree(tree: exp.Expr, scope: Scope) -> Part:
    """Give every name of a syntax tree its meaning and every part its type; return the whole as a part.

    In the SQL columns are qualified by their catalog table, ``count(*)`` is ``count(table.*)``, ``years``
    and ``days`` stand as they were written, numbers are DECIMAL(38, scale) once the columns are, aggregates
    have their sqlglot ``type``, and every operation is in parentheses.  No number in it has more than 38
    digits, whatever the cells that the reader lets pass.  Raises PolicyRefusedError.
    """
    return _Binder(scope).bind(tree)


class _Binder:
    """Walks one tree; every method binds the nodes that the table at the end gives it."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._refused = scope.refused

    def bind(self, node: exp.Expr) -> Part:
        """Bind a node and all below it, by its row of the table at the end."""
        rule = _SUBSET.get(type(node))
        if rule is None:
            remedy = _INSTEAD.get(type(node), "write a column, a comparison or a listed function")
            raise self._refused(f"{node.key.upper()} is not allowed here", remedy)
        given = {
            name for name, part in node.args.items() if part is not None and part is not False and part != []
        }
        if given - rule.required - rule.optional or rule.required - given:
            raise self._refused(f"{node.key.upper()} is not allowed in this form", f"write {rule.form}")
        return self._exact(node, rule.bind(self, node))

    # Names and constants

    def column(self, node: exp.Column) -> Part:
        column = self._scope.column(node.name)
        return Part(
            exp.column(column.name, table=column.table, quoted=True),
            column.type,
            largest(column),
            declared=column.range is not None or not column.type.numeric,
            optional=self._scope.optional(column),
        )

    def parameter(self, node: exp.Placeholder) -> Part:
        return self._constant(self._scope.parameter(node.name))

    def literal(self, node: exp.Literal) -> Part:
        return self._constant(node.name if node.is_string else self._read(exact_number, node.name))

    def boolean(self, node: exp.Boolean) -> Part:
        return self._constant(bool(node.this))

    def date(self, node: exp.Cast) -> Part:
        if not node.to.is_type("date") or not node.this.is_string:
            raise self._refused("CAST is not allowed", "the catalog gives every column its type")
        return self._constant(self._read(iso_date, node.this.name))

    def _read(self, reader: Callable[[str], CellValue], text: str) -> CellValue:
        try:
            return reader(text)
        except ValueError as error:
            what, _, remedy = str(error).partition("; ")
            raise self._refused(what, remedy) from None

    def _constant(self, value: CellValue) -> Part:
        try:
            constant_type = type_of(value)
        except ValueError as error:
            raise self._refused(str(error)) from None
        # copy_abs, since abs rounds to the 28 digits of Python's decimal context.
        if isinstance(value, int | Decimal) and (
            constant_type.scale > FINEST_SCALE or Decimal(value).copy_abs() >= 10**FINEST_SCALE
        ):
            remedy = f"write at most {FINEST_SCALE} digits on either side of the point"
            raise self._refused("a number is too long", remedy)
        return Part(literal(value, constant_type), constant_type, magnitude(value, constant_type.scale))

    def parenthesised(self, node: exp.Paren) -> Part:
        return self.bind(node.this)

    # Arithmetic

    def sum_or_difference(self, node: exp.Binary) -> Part:
        left, right = self._together(node.left, node.right)
        self._require_number(node, left.type)
        result = exp.paren(type(node)(this=left.sql, expression=right.sql), copy=False)
        return part_of([left, right], result, left.type, left.largest + right.largest)

    def product(self, node: exp.Mul) -> Part:
        left, right = self._number(node.left), self._number(node.right)
        scale = left.type.scale + right.type.scale
        if scale > FINEST_SCALE:
            what = f"{_shown(node)} has {scale} digits behind the point"
            raise self._refused(what, f"round its factors; at most {FINEST_SCALE} are exact")
        product = exp.paren(exp.Mul(this=left.sql, expression=right.sql), copy=False)
        result = number_of_scale(scale, whole=left.type == right.type == INTEGER)
        return part_of([left, right], product, result, left.largest * right.largest)

    def negative(self, node: exp.Neg) -> Part:
        value = self._number(node.this)
        return value._replace(sql=exp.paren(exp.Neg(this=value.sql), copy=False))

    def round(self, node: exp.Round) -> Part:
        value = self._number(node.this)
        digits = node.args["decimals"]
        if not isinstance(digits, exp.Literal) or not digits.is_int or int(digits.name) > FINEST_SCALE:
            raise self._refused(f"{_shown(node)} does not say its digits", "write round(x, 2)")
        scale = int(digits.name)
        if scale >= value.type.scale:
            return value
        rounded = exp.Round(this=value.sql, decimals=exp.Literal.number(scale))
        most = value.largest // 10 ** (value.type.scale - scale) + 1
        return part_of([value], rounded, number_of_scale(scale, whole=scale == 0), most)

    # Truth

    def connective(self, node: exp.Connector) -> Part:
        left, right = self._condition(node.left), self._condition(node.right)
        both = exp.paren(type(node)(this=left.sql, expression=right.sql), copy=False)
        return part_of([left, right], both)

    def negation(self, node: exp.Not) -> Part:
        condition = self._condition(node.this)
        return part_of([condition], _negated(condition.sql))

    def comparison(self, node: exp.Binary) -> Part:
        left, right = self._operands(node.left, node.right)
        if left.type == BOOLEAN and not isinstance(node, exp.EQ | exp.NEQ):
            raise self._refused(f"{_shown(node)} orders true and false", "compare them with = or <>")
        compared = exp.paren(type(node)(this=left.sql, expression=right.sql), copy=False)
        return part_of([left, right], compared)

    def between(self, node: exp.Between) -> Part:
        value, low, high = self._operands(node.this, node.args["low"], node.args["high"])
        if value.type == BOOLEAN:
            raise self._refused(f"{_shown(node)} orders true and false", "compare them with = or <>")
        between = exp.paren(exp.Between(this=value.sql, low=low.sql, high=high.sql), copy=False)
        return part_of([value, low, high], between)

    def membership(self, node: exp.In) -> Part:
        for item in node.expressions:
            inner = item.this if isinstance(item, exp.Neg) else item
            if not isinstance(inner, exp.Literal | exp.Boolean | exp.Placeholder | exp.Cast):
                raise self._refused(
                    f"{_shown(item)} in the list of IN", "IN takes constants; write = for a column"
                )
        value, *items = self._operands(node.this, *node.expressions)
        is_in = exp.In(this=value.sql, expressions=[item.sql for item in items])
        return part_of([value, *items], exp.paren(is_in, copy=False))

    def is_null(self, node: exp.Is) -> Part:
        if not isinstance(node.expression, exp.Null):
            raise self._refused(f"{_shown(node)} is not allowed", "write IS NULL, or = true")
        [value] = self._operands(node.this)
        is_null = exp.paren(exp.Is(this=value.sql, expression=exp.Null()), copy=False)
        return Part(_negated(is_null) if node.args.get("negate") else is_null, BOOLEAN)

    def like(self, node: exp.Like) -> Part:
        pattern = node.expression
        if not isinstance(pattern, exp.Literal) or not pattern.is_string:
            raise self._refused(f"{_shown(node)} has no constant pattern", "write LIKE 'A%'")
        if pattern.name.startswith(("%", "_")):
            raise self._refused(
                f"{_shown(node)} is not anchored on the left", "begin the pattern with plain text"
            )
        value, matched = self._operands(node.this, pattern)
        like = exp.paren(exp.Like(this=value.sql, expression=matched.sql), copy=False)
        return part_of([value], _negated(like) if node.args.get("negate") else like)

    # Choices and functions

    def case(self, node: exp.Case) -> Part:
        branches: list[exp.If] = node.args["ifs"]
        default: exp.Expr | None = node.args.get("default")
        conditions = [self._condition(branch.this) for branch in branches]
        results = [branch.args["true"] for branch in branches] + ([default] if default else [])
        values = self._together(*results)
        ifs = [exp.If(this=when.sql, true=then.sql) for when, then in zip(conditions, values, strict=False)]
        case = _one_of(values, exp.Case(ifs=ifs, default=values[-1].sql if default else None))
        return case if default else case._replace(optional=True)

    def coalesce(self, node: exp.Coalesce) -> Part:
        values = self._together(node.this, *node.expressions)
        first, *others = (value.sql for value in values)
        coalesced = _one_of(values, exp.Coalesce(this=first, expressions=others))
        return coalesced._replace(optional=all(value.optional for value in values))

    def years_or_days(self, node: exp.Anonymous) -> Part:
        name = node.name.lower()
        if name not in {"years", "days"} or len(node.expressions) != 1:
            raise self._refused(f"{_shown(node)} is not allowed", "write years(date) or days(date)")
        since = self.bind(node.expressions[0])
        if since.type != DATE:
            raise self._refused(
                f"{_shown(node)} needs a date, found {since.type}", f"write {name}(a date column)"
            )
        return part_of([since], exp.Anonymous(this=name, expressions=[since.sql]), INTEGER, LONGEST[name])

    def aggregate(self, node: exp.AggFunc) -> Part:
        shown = _shown(node)
        if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
            counted = self._scope.table_to_count(shown)
            rows = exp.Column(this=exp.Star(), table=exp.to_identifier(counted.name, quoted=True))
            return self._counted(exp.Count(this=rows), counted)
        with self._scope.aggregate(shown) as ranged:
            argument = self.bind(node.this)
        if isinstance(node, exp.Sum):
            self._require_number(node, argument.type)
        if isinstance(node, exp.Min | exp.Max) and argument.type == BOOLEAN:
            raise self._refused(
                f"{shown} orders true and false", "write max(CASE WHEN ... THEN 1 ELSE 0 END)"
            )
        aggregate = type(node)(this=argument.sql)
        aggregate.type = sql_type(INTEGER if isinstance(node, exp.Count) else argument.type)
        whole = argument._replace(sql=aggregate)
        match node:
            case exp.Count():
                return self._counted(aggregate, ranged.table)
            case exp.Sum():
                # Of no rows 0; NULL where all rows there are have none.
                most = argument.largest * self._scope.most_rows(ranged.table)
                return whole._replace(largest=most, declared=whole.declared and ranged.table.rows == "one")
            case _:
                no_row = any(column.missing.no_row is None for column in ranged.columns.values())
                return whole._replace(optional=whole.optional or no_row)

    def _counted(self, count: exp.Expr, table: Table) -> Part:
        return Part(count, INTEGER, self._scope.most_rows(table), declared=table.rows == "one")

    # What a part must be

    def _exact(self, node: exp.Expr, part: Part) -> Part:
        """The part, unless it could be larger than DuckDB's widest DECIMAL."""
        if (digits := len(str(part.largest))) > LARGEST_PRECISION:
            what = (
                f"{_shown(node)} could leave the {LARGEST_PRECISION} digits that are exact: {digits} digits"
            )
            columns = [self._scope.columns[each.name] for each in node.find_all(exp.Column)]
            open_ended = [column for column in columns if column.type.numeric and column.range is None]
            declare = f"declare a range for {open_ended[0].name}, or " if open_ended else ""
            raise self._refused(what, f"{declare}multiply less")
        return part

    def _together(self, *nodes: exp.Expr) -> list[Part]:
        """Bind parts that must be of one type, numbers at the finest scale among them."""
        parts = [self.bind(node) for node in nodes]
        common = parts[0].type
        for node, part in zip(nodes, parts, strict=True):
            both = common_type(common, part.type)
            if both is None:
                what = f"{_shown(nodes[0])} is {common} and {_shown(node)} is {part.type}"
                raise self._refused(what, _to_compare(common, part.type))
            common = both
        return [self._converted(node, part, common) for node, part in zip(nodes, parts, strict=True)]

    def _converted(self, node: exp.Expr, part: Part, target: ColumnType) -> Part:
        most = part.largest * 10 ** (target.scale - part.type.scale)
        return self._exact(node, part_of([part], convert(part.sql, part.type, target), target, most))

    def _operands(self, *nodes: exp.Expr) -> list[Part]:
        """Parts of a comparison; a comparison of a comparison reads differently to different people."""
        for node in nodes:
            if isinstance(node, exp.Predicate | exp.Not | exp.Connector):
                raise self._refused(f"{_shown(node)} is compared with something", "put it in parentheses")
        return self._together(*nodes)

    def _condition(self, node: exp.Expr) -> Part:
        bound = self.bind(node)
        if bound.type != BOOLEAN:
            what = f"{_shown(node)} is {bound.type}, where something true or false belongs"
            raise self._refused(what, "compare it with something")
        return bound

    def _number(self, node: exp.Expr) -> Part:
        bound = self.bind(node)
        self._require_number(node, bound.type)
        return bound

    def _require_number(self, node: exp.Expr, found: ColumnType) -> None:
        if not found.numeric:
            raise self._refused(
                f"{_shown(node)} needs numbers, found {found}", "calculate with number columns"
            )


def _one_of(values: list[Part], choice: exp.Expr) -> Part:
    """A choice among values of one type."""
    return part_of(values, choice, values[0].type, max(value.largest for value in values))


def _negated(condition: exp.Expr) -> exp.Expr:
    return exp.paren(exp.Not(this=condition), copy=False)


def _shown(node: exp.Expr) -> str:
    """A part of the expression for a message, in the author's spelling as far as the tree keeps it."""
    shown = node.copy()
    for identifier in shown.find_all(exp.Identifier):
        identifier.set("quoted", False)
    return quoted(shown.sql())


def _to_compare(left: ColumnType, right: ColumnType) -> str:
    kinds = {left.kind, right.kind}
    if kinds == {"text", "date"}:
        return "write DATE '2025-12-31'"
    if "text" in kinds:
        return "write the other as text, in single quotation marks"
    return "use parts of the same type"


@dataclass(frozen=True)
class _Rule:
    """A row of the subset: who binds the node, how it is written, which parts it must and may have."""

    bind: Callable[[_Binder, Any], Part]
    form: str
    required: frozenset[str]
    optional: frozenset[str] = frozenset()


_THIS = frozenset({"this"})
_BOTH = frozenset({"this", "expression"})
_LIST = frozenset({"this", "expressions"})
_NEGATE = frozenset({"negate"})

_SUBSET: Mapping[type[exp.Expr], _Rule] = {
    exp.Column: _Rule(_Binder.column, "a column", _THIS),
    exp.Placeholder: _Rule(_Binder.parameter, ":parameter", _THIS),
    exp.Literal: _Rule(_Binder.literal, "7200.50 or 'text'", _THIS, frozenset({"is_string"})),
    exp.Boolean: _Rule(_Binder.boolean, "true or false", frozenset(), _THIS),
    exp.Cast: _Rule(_Binder.date, "DATE '2025-12-31'", _THIS | {"to"}),
    exp.Paren: _Rule(_Binder.parenthesised, "(x)", _THIS),
    exp.Add: _Rule(_Binder.sum_or_difference, "x + y", _BOTH),
    exp.Sub: _Rule(_Binder.sum_or_difference, "x - y", _BOTH),
    exp.Mul: _Rule(_Binder.product, "x * y", _BOTH),
    exp.Neg: _Rule(_Binder.negative, "-x", _THIS),
    exp.Round: _Rule(_Binder.round, "round(x, 2)", _THIS | {"decimals"}),
    exp.And: _Rule(_Binder.connective, "x AND y", _BOTH),
    exp.Or: _Rule(_Binder.connective, "x OR y", _BOTH),
    exp.Not: _Rule(_Binder.negation, "NOT x", _THIS),
    exp.EQ: _Rule(_Binder.comparison, "x = y", _BOTH),
    exp.NEQ: _Rule(_Binder.comparison, "x <> y", _BOTH),
    exp.LT: _Rule(_Binder.comparison, "x < y", _BOTH),
    exp.LTE: _Rule(_Binder.comparison, "x <= y", _BOTH),
    exp.GT: _Rule(_Binder.comparison, "x > y", _BOTH),
    exp.GTE: _Rule(_Binder.comparison, "x >= y", _BOTH),
    exp.Between: _Rule(_Binder.between, "x BETWEEN y AND z", frozenset({"this", "low", "high"})),
    exp.In: _Rule(_Binder.membership, "x IN (1, 2)", _LIST),
    exp.Is: _Rule(_Binder.is_null, "x IS NULL", _BOTH, _NEGATE),
    exp.Like: _Rule(_Binder.like, "x LIKE 'A%'", _BOTH, _NEGATE),
    exp.Case: _Rule(
        _Binder.case, "CASE WHEN x THEN y ELSE z END", frozenset({"ifs"}), frozenset({"default"})
    ),
    exp.Coalesce: _Rule(_Binder.coalesce, "coalesce(x, 0)", _LIST),
    exp.Anonymous: _Rule(_Binder.years_or_days, "years(date) or days(date)", _LIST),
    exp.Count: _Rule(_Binder.aggregate, "count(*) or count(column)", _THIS, frozenset({"big_int"})),
    exp.Sum: _Rule(_Binder.aggregate, "sum(column)", _THIS),
    exp.Min: _Rule(_Binder.aggregate, "min(column)", _THIS),
    exp.Max: _Rule(_Binder.aggregate, "max(column)", _THIS),
}
_INSTEAD: Mapping[type[exp.Expr], str] = {
    exp.Null: "ask with IS NULL; leave ELSE out",
    exp.Star: "only count(*) takes a star",
    exp.Tuple: "a list stands only behind IN",
    exp.Alias: "an operator is missing between two words",
    exp.Concat: "an operator is missing between two texts",
}
