"""What judging a document costs, against the limiters that come with Strawberry."""

import time
from statistics import median

from graphql import OperationDefinitionNode, parse

from schema.edge.documents import Documents
from schema.edge.limits import DocumentLimits, Meter
from schema.root import schema

ROUNDS = 200
ORDINARY = """
query page($first: Int!) {
  models(first: $first) {
    nodes { id key name champion { version metrics { accuracy rocAuc } } features { name type } }
    pageInfo { hasNextPage endCursor }
  }
}
"""


def nested(levels: int) -> str:
    """Each fragment spreads the next one twice: 2^levels selections if they were spread out."""
    parts = [f"fragment f{n} on Model {{ a: key ...f{n + 1} ...f{n + 1} }}" for n in range(levels)]
    last = f"fragment f{levels} on Model {{ name }}"
    return '{ model(key: "x") { ...f0 } } ' + " ".join([*parts, last])


def microseconds(work: object, rounds: int = ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()  # type: ignore[operator]
        times.append(time.perf_counter() - started)
    return median(times) * 1e6


def measure(text: str) -> float:
    document = parse(text)
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    core = schema._schema  # noqa: SLF001
    return microseconds(
        lambda: Meter(core, schema.weights, document, {"first": 20}).measure(operation)
    )


def cold_and_warm() -> None:
    core = schema._schema  # noqa: SLF001
    kept = Documents(DocumentLimits())
    kept.validate(kept.read(ORDINARY), core)

    def cold() -> None:
        documents = Documents(DocumentLimits())
        documents.validate(documents.read(ORDINARY), core)

    slow = microseconds(cold, 50)
    fast = microseconds(lambda: kept.validate(kept.read(ORDINARY), core))
    print(f"parse and validate, first time   {slow:10.1f} us")
    print(f"parse and validate, from cache   {fast:10.1f} us   {slow / fast:.0f} times faster")


if __name__ == "__main__":
    cold_and_warm()
    print(f"measure an ordinary page         {measure(ORDINARY):10.1f} us")
    for levels in (10, 20, 40):
        print(f"measure 2^{levels:<2} nested fragments     {measure(nested(levels)):10.1f} us")
