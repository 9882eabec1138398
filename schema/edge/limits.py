"""What a document may ask for, decided before it is validated or executed.

One pass over the document, memoised over fragments: a fragment spread a thousand times is measured
once, so a short document of nested fragments can't buy a long analysis. graphql-core's validation
is quadratic in fields of one response name, which is why the structure is judged before it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    Node,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    VariableNode,
    Visitor,
    get_named_type,
    is_composite_type,
    is_interface_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    visit,
)

from schema.edge.faults import BadUserInput, QueryTooComplex

NUL_REFUSED = "Text may not contain the NUL character."
SIZE_ARGUMENTS = ("first", "limit")
LIST_ARGUMENTS = {"ids": 100, "inputs": 500, "rows": 1_000}
"""Most entries of a list argument. Refused here: converting a longer one would take seconds."""
CONNECTION_LISTS = {"edges", "nodes"}  # the `first` of their connection has multiplied already
ASSUMED_LIST = 10
LARGEST_SIZE = 10**6
INTROSPECTION_COST = 500


@dataclass(frozen=True)
class DocumentLimits:
    """Generous for a person or a typed client, tight for a machine that looks for weak spots."""

    characters: int = 100_000
    tokens: int = 4_000
    depth: int = 15
    aliases: int = 60
    directives: int = 60
    root_fields: int = 30
    repeats: int = 150
    """How often one response name may be written in a document (quadratic in validation)."""
    operations: int = 20
    fragments: int = 100
    """Each may spread the next: what measures and validates them recurses."""


@dataclass(frozen=True)
class Measure:
    """What a selection amounts to, with its fragments spread out."""

    cost: int = 0
    depth: int = 0

    def __add__(self, other: "Measure") -> "Measure":
        return Measure(self.cost + other.cost, max(self.depth, other.depth))


class _Counts(Visitor):
    """Counts over the document as it is written: linear, whatever fragments would expand to."""

    def __init__(self) -> None:
        super().__init__()
        self.aliases = 0
        self.directives = 0
        self.names: Counter[str] = Counter()
        self.nul = False

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.aliases += node.alias is not None
        self.names[(node.alias or node.name).value] += 1

    def enter_string_value(self, node: StringValueNode, *_: Any) -> None:
        self.nul = self.nul or "\0" in node.value

    def enter_directive(self, *_: Any) -> None:
        self.directives += 1


def check_structure(document: DocumentNode, limits: DocumentLimits) -> None:
    """Raises QueryTooComplex naming the first limit that the document exceeds."""
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    _refuse_over("operations", len(operations), limits.operations)
    _refuse_over("fragments", len(document.definitions) - len(operations), limits.fragments)
    for operation in operations:
        _refuse_over("root fields", len(operation.selection_set.selections), limits.root_fields)
    counts = _Counts()
    visit(document, counts)
    if counts.nul:
        raise BadUserInput(NUL_REFUSED)
    _refuse_over("aliases", counts.aliases, limits.aliases)
    _refuse_over("directives", counts.directives, limits.directives)
    if counts.names:
        name, repeats = counts.names.most_common(1)[0]
        _refuse_over(f"fields named '{name}'", repeats, limits.repeats)


def _refuse_over(what: str, figure: int, limit: int) -> None:
    if figure > limit:
        raise QueryTooComplex(f"The document has {figure} {what}; the limit is {limit}.")


class RootFields:
    """How often each root field is asked for, with fragments spread out (memoised, saturating)."""

    MOST = 1_000

    def __init__(self, document: DocumentNode) -> None:
        self.fragments = {
            d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        self.counted: dict[str, Counter[str]] = {}

    def of(self, selections: SelectionSetNode) -> Counter[str]:
        total: Counter[str] = Counter()
        for selection in selections.selections:
            if isinstance(selection, FieldNode):
                total[selection.name.value] += 1
            elif isinstance(selection, InlineFragmentNode):
                total.update(self.of(selection.selection_set))
            elif isinstance(selection, FragmentSpreadNode):
                total.update(self._fragment(selection.name.value))
        return Counter({name: min(count, self.MOST) for name, count in total.items()})

    def _fragment(self, name: str) -> Counter[str]:
        if name not in self.counted:
            self.counted[name] = Counter()  # a cycle: validation refuses it
            if name in self.fragments:
                self.counted[name] = self.of(self.fragments[name].selection_set)
        return self.counted[name]


Weights = Mapping[tuple[str, str], int]


class Meter:
    """Measures one operation with its variables. Unknown names weigh nothing here."""

    def __init__(
        self,
        schema: GraphQLSchema,
        weights: Weights,
        document: DocumentNode,
        variables: Mapping[str, Any] | None,
    ) -> None:
        self.schema = schema
        self.weights = weights
        self.variables = variables or {}
        self.defaults: dict[str, Any] = {}
        self.fragments = {
            d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        self.measured: dict[str, Measure] = {}

    def measure(self, operation: OperationDefinitionNode) -> Measure:
        for definition in operation.variable_definitions or ():
            self.defaults[definition.variable.name.value] = definition.default_value
        root = self.schema.get_root_type(operation.operation)
        return self._selections(operation.selection_set, root)

    def _selections(self, selections: SelectionSetNode | None, parent: Any) -> Measure:
        total = Measure()
        for selection in selections.selections if selections else ():
            total += self._selection(selection, parent)
        return total

    def _selection(self, selection: Node, parent: Any) -> Measure:
        if isinstance(selection, FieldNode):
            return self._field(selection, parent)
        if isinstance(selection, InlineFragmentNode):
            condition = selection.type_condition
            inner = self.schema.get_type(condition.name.value) if condition else parent
            return self._selections(selection.selection_set, inner)
        if isinstance(selection, FragmentSpreadNode):
            return self._fragment(selection.name.value)
        return Measure()

    def _fragment(self, name: str) -> Measure:
        if name not in self.measured:
            self.measured[name] = Measure()  # a cycle measures nothing here; validation refuses it
            fragment = self.fragments.get(name)
            if fragment is not None:
                on = self.schema.get_type(fragment.type_condition.name.value)
                self.measured[name] = self._selections(fragment.selection_set, on)
        return self.measured[name]

    def _field(self, field: FieldNode, parent: Any) -> Measure:
        name = field.name.value
        if name.startswith("__"):
            return Measure(INTROSPECTION_COST if field.selection_set else 0, 1)
        if not (is_object_type(parent) or is_interface_type(parent)) or name not in parent.fields:
            return Measure()
        kind = parent.fields[name].type
        named = get_named_type(kind)
        inner = self._selections(field.selection_set, named)
        weight = self.weights.get((parent.name, name), int(is_composite_type(named)))
        factor = self._factor(field, parent, kind)
        if any(argument in parent.fields[name].args for argument in LIST_ARGUMENTS):
            weight += factor  # each entry is checked and converted
        return Measure(weight + factor * inner.cost, inner.depth + 1)

    def _factor(
        self, field: FieldNode, parent: GraphQLObjectType | GraphQLInterfaceType, kind: Any
    ) -> int:
        """How many objects the field may return."""
        definition = parent.fields[field.name.value]
        for argument in SIZE_ARGUMENTS:
            if argument in definition.args:
                default = definition.args[argument].default_value
                return self._size(field, argument, default if isinstance(default, int) else 100)
        for argument in LIST_ARGUMENTS:
            if argument in definition.args:
                return self._entries(field, argument)
        nullable = kind.of_type if is_non_null_type(kind) else kind
        if is_list_type(nullable) and field.name.value not in CONNECTION_LISTS:
            return ASSUMED_LIST
        return 1

    def _entries(self, field: FieldNode, argument: str) -> int:
        """Raises BadUserInput for a list that is longer than its resolver accepts."""
        entries = self._size(field, argument, 1)
        most = LIST_ARGUMENTS[argument]
        if entries > most:
            raise BadUserInput(f"{argument} must have 1 to {most} rows, got {entries}", [argument])
        return entries

    def _size(self, field: FieldNode, argument: str, default: int) -> int:
        given = next((a.value for a in field.arguments or () if a.name.value == argument), None)
        if isinstance(given, VariableNode):
            name = given.name.value
            given = self.variables.get(name, self.defaults.get(name))
        size = _length(given)
        return min(max(default if size is None else size, 0), LARGEST_SIZE)


def _length(value: Any) -> int | None:
    if isinstance(value, IntValueNode):
        return int(value.value[:6])
    if isinstance(value, ListValueNode):
        return len(value.values)
    if isinstance(value, list):
        return len(value)
    return value if isinstance(value, int) else None


def check_measure(measure: Measure, limits: DocumentLimits, most_cost: int) -> None:
    """Raises QueryTooComplex naming depth or cost, with the figure and the limit."""
    if measure.depth > limits.depth:
        raise QueryTooComplex(
            f"The query is {measure.depth} levels deep; the limit is {limits.depth}."
        )
    if measure.cost > most_cost:
        raise QueryTooComplex(
            f"The query costs {measure.cost:,} points; the limit is {most_cost:,}. "
            "Ask for fewer rows or fewer nested lists."
        )
