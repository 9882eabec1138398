"""The operations that GraphiQL opens with have to work on the schema as it is exported."""

import json
from pathlib import Path

import pytest
from graphql import (
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    parse,
    validate,
)
from graphql.execution.values import get_variable_values

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schema" / "schema.graphql"
EXAMPLES = sorted((ROOT / "web" / "graphiql" / "examples").glob("*.graphql"))


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema(SCHEMA.read_text())


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_document_is_valid(path: Path, schema: GraphQLSchema) -> None:
    assert validate(schema, parse(path.read_text())) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_variables_fit(path: Path, schema: GraphQLSchema) -> None:
    file = path.with_suffix(".variables.json")
    variables = json.loads(file.read_text()) if file.is_file() else {}
    declared = set()
    for operation in parse(path.read_text()).definitions:
        assert isinstance(operation, OperationDefinitionNode)
        nodes = operation.variable_definitions or ()
        declared |= {node.variable.name.value for node in nodes}
        # A list is one of errors.
        assert not isinstance(result := get_variable_values(schema, nodes, variables), list), result
    assert set(variables) <= declared


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_opens_with_a_title_and_a_description(path: Path) -> None:
    comment = path.read_text().split("\n\n")[0].splitlines()
    assert len(comment) > 1
    assert all(line.startswith("# ") for line in comment)
