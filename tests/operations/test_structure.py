"""What holds the house together."""

from collections.abc import Iterator

from db.errors import DomainError
from schema.edge.user_errors import TRANSLATIONS, UserErrorCode


def subclasses(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_every_domain_error_has_its_user_error() -> None:
    assert set(subclasses(DomainError)) == set(TRANSLATIONS)


def test_every_domain_error_has_a_code_of_the_schema() -> None:
    for kind in subclasses(DomainError):
        assert kind.code in UserErrorCode.__members__
