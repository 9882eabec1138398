"""The model registry over the API: what there is, what serves, and who moved it."""

from typing import Any
from uuid import uuid4

import pytest

from db.models.accounts import Role
from schema.edge.services import Services
from tests.clients import Api, SignIn
from tests.factories import make_model, make_version, promote
from tests.statements import counted

EVERYTHING = """
query all($first: Int!) {
  models(first: $first) {
    totalCount
    nodes {
      id key name task pricePerPrediction isMock
      features { name type required }
      champion { id version aliases metrics { accuracy f1Score rocAuc } }
      shadow { id version }
      versions(first: 3) { totalCount nodes { version } pageInfo { hasNextPage } }
      aliasHistory(limit: 5) { alias from { version } to { version } by { username } }
      metrics(days: 5) { modelType metricsHistory { date version accuracy } }
      trainingRuns { id status version { version } }
    }
  }
}
"""


async def test_a_list_of_models_takes_as_many_statements_for_ten_as_for_one(
    services: Services, sign_in: SignIn
) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    for number in range(10):
        model = await make_model(services.database, f"model{number}")
        for _ in range(2):
            version = await make_version(services.database, model)
        await promote(services.database, model, version)
    figures = []
    for first in (2, 11):  # the server brings one of its own, which comes first
        with counted(services.database) as statements:
            answer = await admin(EVERYTHING, first=first)
            assert len(answer["models"]["nodes"]) == first
        figures.append(len(statements))
    assert 0 < figures[0] == figures[1]


async def test_models_are_paged_by_cursor(services: Services, api: Api) -> None:
    for number in range(5):
        await make_model(services.database, f"model{number}")
    page = """query p($after: String) {
      models(first: 2, after: $after) {
        nodes { key } totalCount pageInfo { hasNextPage hasPreviousPage endCursor }
      }
    }"""
    seen: list[str] = []
    after, more = None, True
    while more:
        answer = (await api(page, after=after))["models"]
        seen += [node["key"] for node in answer["nodes"]]
        after, more = answer["pageInfo"]["endCursor"], answer["pageInfo"]["hasNextPage"]
        assert answer["totalCount"] == 6
    assert seen == ["attendance", *(f"model{number}" for number in range(5))]


@pytest.mark.parametrize("after", ["", "nonsense", "W10", "WyJhIl0", "x" * 1000, "WzEsMl0"])
async def test_a_cursor_of_another_list_is_bad_user_input(api: Api, after: str) -> None:
    answer = await api("query p($a: String) { models(after: $a) { nodes { key } } }", a=after)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == ["after"]


@pytest.mark.parametrize("first", [0, -1, 101])
async def test_a_page_size_out_of_range_is_named(api: Api, first: int) -> None:
    answer = await api("query p($n: Int!) { models(first: $n) { nodes { key } } }", n=first)
    assert answer.code == "BAD_USER_INPUT"
    assert "between 1 and 100" in answer.errors[0]["message"]


async def test_paid_only_leaves_out_what_costs_nothing(services: Services, api: Api) -> None:
    await make_model(services.database, "free")
    await make_model(services.database, "dear", price="2.50")
    answer = await api("{ models(paidOnly: true) { nodes { key pricePerPrediction } totalCount } }")
    assert answer["models"] == {
        "nodes": [{"key": "dear", "pricePerPrediction": "2.50"}],
        "totalCount": 1,
    }


async def test_a_model_is_found_by_key_by_raw_id_and_by_global_id(
    services: Services, api: Api
) -> None:
    model = await make_model(services.database, "one")
    query = "query m($id: ID, $key: String) { model(id: $id, key: $key) { id key } }"
    by_key = (await api(query, key="one"))["model"]
    assert by_key["key"] == "one"
    assert (await api(query, id=str(model)))["model"] == by_key
    assert (await api(query, id=by_key["id"]))["model"] == by_key
    assert (await api(query, key="none"))["model"] is None
    assert (await api(query, id="999"))["model"] is None


@pytest.mark.parametrize(
    "arguments",
    [{}, {"id": "1", "key": "a"}, {"id": "0"}, {"id": "-1"}, {"id": "x"}, {"id": "9" * 30}],
)
async def test_a_wrong_way_of_asking_for_a_model_is_named(
    api: Api, arguments: dict[str, Any]
) -> None:
    query = "query m($id: ID, $key: String) { model(id: $id, key: $key) { key } }"
    assert (await api(query, **arguments)).code == "BAD_USER_INPUT"


SET_ALIAS = """
mutation set($model: ID!, $alias: ModelAlias!, $version: ID, $reason: String) {
  setModelAlias(modelId: $model, alias: $alias, versionId: $version, reason: $reason) {
    model {
      champion { version } shadow { version }
      aliasHistory { alias reason from { version } to { version } by { username } }
    }
    userErrors { code field message }
  }
}
"""


async def set_alias(client: Api, **variables: Any) -> Any:
    return (await client(SET_ALIAS, **variables))["setModelAlias"]


async def test_an_alias_for_a_version_without_its_file_is_refused_and_nothing_moves(
    services: Services, sign_in: SignIn
) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    model = await make_model(services.database, "one")
    version = await make_version(services.database, model)
    answer = await set_alias(admin, model=str(model), alias="CHAMPION", version=str(version))
    assert answer["userErrors"][0]["code"] == "MODEL_UNAVAILABLE"
    assert answer["userErrors"][0]["field"] == ["versionId"]
    state = await admin('{ model(key: "one") { champion { id } aliasHistory { at } } }')
    assert state["model"] == {"champion": None, "aliasHistory": []}


async def test_clearing_the_champion_is_refused(services: Services, sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    model = await make_model(services.database, "one")
    await promote(services.database, model, await make_version(services.database, model))
    answer = await set_alias(admin, model=str(model), alias="CHAMPION", version=None)
    assert answer["userErrors"][0]["code"] == "REQUIRED"


async def test_another_models_version_is_not_found(services: Services, sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    one = await make_model(services.database, "one")
    other = await make_version(services.database, await make_model(services.database, "other"))
    answer = await set_alias(admin, model=str(one), alias="SHADOW", version=str(other))
    assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [("NOT_FOUND", ["versionId"])]
    unknown = await set_alias(admin, model="999", alias="SHADOW", version=None)
    assert unknown["userErrors"][0]["field"] == ["modelId"]


async def test_only_an_admin_moves_aliases_or_sees_their_history(
    services: Services, sign_in: SignIn
) -> None:
    merchant, _ = await sign_in(Role.MERCHANT)
    model = await make_model(services.database, "one")
    assert (await merchant(SET_ALIAS, model=str(model), alias="SHADOW")).code == "FORBIDDEN"
    for field in ("aliasHistory { at }", "metrics { modelType }", "trainingRuns { id }"):
        assert (await merchant(f'{{ model(key: "one") {{ {field} }} }}')).code == "FORBIDDEN"


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("metrics(days: 0) { modelType }", "days"),
        ("metrics(days: 366) { modelType }", "days"),
        ("metrics(limit: 0) { modelType }", "limit"),
        ("metrics(limit: 1001) { modelType }", "limit"),
        ("aliasHistory(limit: 101) { at }", "limit"),
        ("trainingRuns(limit: 0) { id }", "limit"),
    ],
)
async def test_a_range_out_of_bounds_is_named(
    services: Services, sign_in: SignIn, field: str, named: str
) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    await make_model(services.database, "one")
    answer = await admin(f'{{ model(key: "one") {{ {field} }} }}')
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["field"] == [named]


async def test_node_gives_models_and_versions_by_global_id(services: Services, api: Api) -> None:
    model = await make_model(services.database, "one")
    version = await make_version(services.database, model)
    await promote(services.database, model, version)
    ids = (await api('{ model(key: "one") { id champion { id } } }'))["model"]
    query = """query n($ids: [ID!]!) {
      nodes(ids: $ids) { id ... on Model { key } ... on ModelVersion { version } }
    }"""
    answer = await api(query, ids=[ids["id"], ids["champion"]["id"]])
    assert [{k: v for k, v in n.items() if k != "id"} for n in answer["nodes"]] == [
        {"key": "one"},
        {"version": "v1"},
    ]


async def test_a_training_run_is_for_admins_and_absent_ones_are_null(sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    query = "query r($id: ID!) { trainingRun(id: $id) { id } }"
    assert (await admin(query, id=str(uuid4())))["trainingRun"] is None
    assert (await admin(query, id="not an id")).code == "BAD_USER_INPUT"
