"""Parsing and validation, once per document text instead of once per request."""

from collections import OrderedDict
from dataclasses import dataclass

from graphql import DocumentNode, GraphQLError, GraphQLSchema, parse
from graphql.validation import ASTValidationRule, specified_rules
from graphql.validation import validate as validate_document
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from schema.edge.faults import QueryTooComplex
from schema.edge.limits import DocumentLimits, check_structure

RULES: tuple[type[ASTValidationRule], ...] = (
    *specified_rules,
    MaybeNullValidationRule,
    OneOfInputValidationRule,
)
MOST_ERRORS = 20


@dataclass(slots=True)
class Document:
    syntax: DocumentNode
    errors: list[GraphQLError] | None = None


class Documents:
    """Least recently used documents; long ones are not kept, so memory stays bounded."""

    def __init__(
        self, limits: DocumentLimits, most_kept: int = 1_000, longest_kept: int = 10_000
    ) -> None:
        self.limits = limits
        self.most_kept = most_kept
        self.longest_kept = longest_kept
        self._kept: OrderedDict[str, Document] = OrderedDict()

    def read(self, text: str) -> Document:
        """Raises GraphQLError for bad syntax, QueryTooComplex for too much of it."""
        document = self._kept.get(text)
        if document is not None:
            self._kept.move_to_end(text)
            return document
        document = Document(self._parse(text))
        check_structure(document.syntax, self.limits)
        if len(text) <= self.longest_kept:
            self._kept[text] = document
            if len(self._kept) > self.most_kept:
                self._kept.popitem(last=False)
        return document

    def _parse(self, text: str) -> DocumentNode:
        if len(text) > self.limits.characters:
            raise QueryTooComplex(
                f"The document has {len(text)} characters; the limit is {self.limits.characters}."
            )
        # graphql-core itself gives up on nesting of more than 200 levels
        return parse(text, max_tokens=self.limits.tokens)

    def validate(self, document: Document, schema: GraphQLSchema) -> list[GraphQLError]:
        if document.errors is None:
            document.errors = validate_document(
                schema, document.syntax, RULES, max_errors=MOST_ERRORS
            )
        return document.errors
