"""A document is refused before it costs anything, and cheaply."""

import time

import pytest
from graphql import (
    GraphQLSyntaxError,
    OperationDefinitionNode,
    get_introspection_query,
    parse,
)

from schema.edge.documents import Documents
from schema.edge.faults import QueryTooComplex
from schema.edge.limits import DocumentLimits, Measure, Meter
from schema.root import schema
from tests.clients import Api

CORE = schema._schema


def measured(text: str, **variables: object) -> Measure:
    document = parse(text)
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    return Meter(CORE, schema.weights, document, variables).measure(operation)


def nested_fragments(levels: int) -> str:
    """Each fragment spreads the next one twice: 2^levels selections in a short text."""
    parts = [f"fragment f{n} on Model {{ a: key ...f{n + 1} ...f{n + 1} }}" for n in range(levels)]
    return (
        '{ model(key: "x") { ...f0 } } '
        + " ".join(parts)
        + (f" fragment f{levels} on Model {{ name }}")
    )


def test_cost_counts_the_rows_of_a_list() -> None:
    few = measured("{ models(first: 1) { nodes { champion { version } } } }")
    many = measured("{ models(first: 100) { nodes { champion { version } } } }")
    assert many.cost > 50 * few.cost


def test_cost_of_a_page_size_in_a_variable_is_that_of_its_value() -> None:
    query = "query q($n: Int!) { models(first: $n) { nodes { key champion { version } } } }"
    assert measured(query, n=7) == measured(
        "{ models(first: 7) { nodes { key champion { version } } } }"
    )


def test_nested_lists_multiply() -> None:
    inner = measured("{ models(first: 10) { nodes { versions(first: 10) { nodes { id } } } } }")
    assert inner.cost > 100


def test_depth_counts_through_fragments() -> None:
    text = "{ models { ...a } } fragment a on ModelConnection { nodes { champion { version } } }"
    assert measured(text).depth == 4


def test_a_document_of_nested_fragments_is_measured_once_per_fragment() -> None:
    started = time.perf_counter()
    measured(nested_fragments(40))  # 2^40 selections if it were spread out
    assert time.perf_counter() - started < 10


def test_a_cycle_of_fragments_ends() -> None:
    text = "{ models { ...a } } fragment a on ModelConnection { ...b } "
    assert measured(text + "fragment b on ModelConnection { ...a }").cost >= 0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{" + " ".join(f"a{n}: health {{ status }}" for n in range(31)) + "}", "root fields"),
        ('{ model(key: "x") {' + " ".join(f"a{n}: key" for n in range(61)) + "} }", "aliases"),
        ("{ health { status " + "@include(if: true) " * 61 + "} }", "directives"),
        ("{ health { " + "status " * 151 + "} }", "fields named 'status'"),
        (" ".join(f"query q{n} {{ health {{ status }} }}" for n in range(21)), "operations"),
        ("{ health { status } }" + " " * 100_000, "characters"),
    ],
)
def test_each_limit_is_named_with_its_figure(text: str, named: str) -> None:
    with pytest.raises(QueryTooComplex, match=named):
        Documents(DocumentLimits()).read(text)


def test_deep_nesting_is_refused_not_a_crash_of_the_parser() -> None:
    with pytest.raises(GraphQLSyntaxError, match="nested too deeply"):
        Documents(DocumentLimits(tokens=10**6, characters=10**6)).read("{a" * 5_000)


async def test_a_query_that_costs_too_much_is_refused(api: Api) -> None:
    answer = await api(
        "{ models(first: 100) { nodes { versions(first: 100) { nodes { metrics { recall } } } } } }"
    )
    assert answer.code == "QUERY_TOO_COMPLEX"
    assert "5,000" in answer.errors[0]["message"]
    assert answer.data is None


async def test_a_query_that_is_too_deep_is_refused(api: Api) -> None:
    deep = "{ models(first: 1) " + "{ nodes { versions(first: 1) { nodes { aliases } } } }" + " }"
    assert (await api(deep)).errors == []
    answer = await api(
        '{ node(id: "x") { ... on TrainingRun { model { champion { metrics { recall } } } } } }'
    )
    assert answer.code != "QUERY_TOO_COMPLEX"


@pytest.mark.parametrize("name", ["login", "register"])
async def test_one_login_a_request(api: Api, name: str) -> None:
    fields = {
        "login": 'login(input: {username: "a", password: "b"}) { tokenType }',
        "register": 'register(input: {username: "a", email: "b", password: "c"}) { tokenType }',
    }[name]
    answer = await api(f"mutation {{ a: {fields} b: {fields} }}")
    assert answer.code == "QUERY_TOO_COMPLEX"


async def test_aliased_logins_inside_a_fragment_are_refused_too(api: Api) -> None:
    text = (
        "mutation { ...two } fragment two on Mutation { "
        'a: login(input: {username: "a", password: "b"}) { tokenType } '
        'b: login(input: {username: "a", password: "b"}) { tokenType } }'
    )
    assert (await api(text)).code == "QUERY_TOO_COMPLEX"


async def test_the_introspection_of_graphiql_passes(api: Api) -> None:
    query = get_introspection_query(
        descriptions=True, input_value_deprecation=True, schema_description=True
    )
    assert (await api(query)).errors == []


async def test_circular_introspection_is_refused(api: Api) -> None:
    loop = "fields { type { " * 6 + "name" + " } }" * 6
    answer = await api("{ __schema { types { " + loop + " } } }")
    assert answer.errors
    assert answer.data is None


async def test_the_rate_limit_field_tells_the_cost_of_the_request(api: Api) -> None:
    first = await api("{ rateLimit { limit cost remaining resetAt } }")
    second = await api("{ rateLimit { cost remaining } models(first: 50) { nodes { key } } }")
    assert second["rateLimit"]["cost"] > first["rateLimit"]["cost"]
    assert second["rateLimit"]["remaining"] < first["rateLimit"]["remaining"]


class TestBudget:
    @pytest.fixture
    def settings_variables(self) -> dict[str, str]:
        return {"QUERY_BUDGET_PER_MINUTE": "50"}

    async def test_a_caller_who_has_spent_the_budget_waits(self, api: Api) -> None:
        query = "{ models(first: 30) { nodes { key } } }"
        assert (await api(query)).errors == []
        answer = await api(query)
        assert answer.code == "RATE_LIMITED"
        assert answer.errors[0]["extensions"]["retryAfter"] >= 1
        assert int(answer.headers["retry-after"]) >= 1
