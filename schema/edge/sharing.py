"""Whether the answers to a subscription are the same for everybody who asks it."""

from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from schema.edge.fields import StreamGuard


def declared(field: GraphQLField) -> StrawberryField | None:
    """The declaration a field was made of; None for introspection's own."""
    return (field.extensions or {}).get(GraphQLCoreConverter.DEFINITION_BACKREF)


def shared_field(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
) -> FieldNode | None:
    """The one root field of a valid subscription, if its answers may be shared.

    A root behind a fragment or a directive is not looked into: it merely isn't shared.
    """
    selections = operation.selection_set.selections
    root = schema.subscription_type
    if root is None or len(selections) != 1:
        return None
    (node,) = selections
    if not isinstance(node, FieldNode) or node.directives or node.name.value not in root.fields:
        return None
    field = root.fields[node.name.value]
    declaration = declared(field)
    if declaration is None or not declaration.metadata.get("shared"):
        return None
    personal = _Personal(schema, document).within(node.selection_set, get_named_type(field.type))
    return None if personal else node


def guard_of(schema: GraphQLSchema, field: FieldNode) -> StreamGuard:
    root = schema.subscription_type
    declaration = declared(root.fields[field.name.value]) if root else None
    extensions = declaration.extensions if declaration else []
    return next(guard for guard in extensions if isinstance(guard, StreamGuard))


class _Personal:
    """Looks for fields whose answer depends on who asks, once in each fragment."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self.schema = schema
        self.fragments = {
            d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
        }
        self.seen: set[str] = set()

    def within(self, selections: SelectionSetNode | None, parent: Any) -> bool:
        return selections is not None and any(
            self._selected(selection, parent) for selection in selections.selections
        )

    def _selected(self, selection: SelectionNode, parent: Any) -> bool:
        if isinstance(selection, FieldNode):
            return self._field(selection, parent)
        if isinstance(selection, FragmentSpreadNode):
            if selection.name.value in self.seen:
                return False
            self.seen.add(selection.name.value)
            fragment = self.fragments[selection.name.value]
            on = self.schema.get_type(fragment.type_condition.name.value)
            return self.within(fragment.selection_set, on)
        assert isinstance(selection, InlineFragmentNode)  # noqa: S101 - there are three kinds
        condition = selection.type_condition
        on = self.schema.get_type(condition.name.value) if condition else parent
        return self.within(selection.selection_set, on)

    def _field(self, node: FieldNode, parent: Any) -> bool:
        name = node.name.value
        if name not in getattr(parent, "fields", {}):  # __typename
            return False
        # A field of an interface is answered by that of the object, which may be personal.
        owners: list[GraphQLObjectType | GraphQLInterfaceType] = [parent]
        if is_abstract_type(parent):
            owners += self.schema.get_possible_types(parent)
        for owner in owners:
            declaration = declared(owner.fields[name])
            if declaration is None or declaration.metadata.get("personal"):
                return True
        return self.within(node.selection_set, get_named_type(parent.fields[name].type))
