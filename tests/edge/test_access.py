"""Who may ask what is declared on the field, and nowhere forgotten."""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import GraphQLObjectType, is_object_type, is_specified_scalar_type
from strawberry.types.field import StrawberryField

from db.models.accounts import Role
from schema.edge.fields import AuthDirective, Guard, Public
from schema.root import schema
from tests.clients import Api, SignIn

CORE = schema._schema
ROOTS = (CORE.query_type, CORE.mutation_type, CORE.subscription_type)


def declared_fields(kind: GraphQLObjectType) -> Iterator[StrawberryField]:
    for field in kind.fields.values():
        yield field.extensions["strawberry-definition"]


@pytest.mark.parametrize("root", [root for root in ROOTS if root], ids=lambda root: root.name)
def test_every_root_field_declares_who_may_ask(root: GraphQLObjectType) -> None:
    for field in declared_fields(root):
        access = field.metadata.get("access")
        assert isinstance(access, Role | Public), f"{root.name}.{field.name} declares no access"
        assert any(isinstance(extension, Guard) for extension in field.extensions)


def test_the_auth_directive_tells_what_the_guard_enforces() -> None:
    for kind in CORE.type_map.values():
        if not is_object_type(kind) or kind.name.startswith("__"):
            continue
        for field in declared_fields(kind):
            guards = [e for e in field.extensions if isinstance(e, Guard)]
            told = [d for d in field.directives if isinstance(d, AuthDirective)]
            enforced = [g.access for g in guards if isinstance(g.access, Role)]
            assert [d.requires for d in told] == enforced, f"{kind.name}.{field.name}"


def test_every_mutation_returns_a_payload_with_user_errors() -> None:
    assert CORE.mutation_type
    for name, field in CORE.mutation_type.fields.items():
        payload: Any = field.type.of_type
        assert "MutationPayload" in {i.name for i in payload.interfaces}, name


OURS = [
    kind
    for kind in CORE.type_map.values()
    if not kind.name.startswith("__") and not is_specified_scalar_type(kind)
]


def undescribed() -> Iterator[str]:
    for kind in OURS:
        if not kind.description and kind not in ROOTS:
            yield kind.name
        for name, field in getattr(kind, "fields", {}).items():
            if not field.description:
                yield f"{kind.name}.{name}"
            for argument, definition in getattr(field, "args", {}).items():
                if not definition.description:
                    yield f"{kind.name}.{name}({argument})"


def test_every_type_field_and_argument_is_described() -> None:
    assert list(undescribed()) == []


async def test_without_a_token_a_protected_field_is_unauthenticated(api: Api) -> None:
    answer = await api("{ me { id } }")
    assert answer.code == "UNAUTHENTICATED"
    assert answer.errors[0]["extensions"]["status"] == 401
    assert answer.errors[0]["path"] == ["me"]


async def test_a_role_too_low_is_forbidden_in_the_words_of_the_source(sign_in: SignIn) -> None:
    person, _ = await sign_in(Role.MERCHANT)
    answer = await person('{ trainingRun(id: "00000000-0000-4000-8000-000000000001") { id } }')
    assert answer.code == "FORBIDDEN"
    message = "No tiene permisos suficientes para realizar esta acción"
    assert answer.errors[0]["message"] == message


async def test_a_higher_role_includes_the_lower_ones(sign_in: SignIn) -> None:
    admin, _ = await sign_in(Role.ADMIN)
    answer = await admin("{ me { role } }")
    assert answer["me"] == {"role": "ADMIN"}


async def test_public_fields_answer_beside_a_refused_one(api: Api) -> None:
    answer = await api('{ health { status } node(id: "VXNlcjox") { id } }')
    assert answer.errors[0]["path"] == ["node"]
    assert answer.data == {"health": {"status": "ok"}, "node": None}
