"""How PostgreSQL carries out a statement, once it is prepared for any values."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Select, text

from db.session import Database

Node = dict[str, Any]
MODES = ("force_generic_plan", "force_custom_plan")
"""A plan made for any values, as a connection that lives comes to use, and one for these."""


async def plan_of(
    database: Database,
    statement: Select[*tuple[Any, ...]],
    mode: str,
    values: Mapping[str, Any] | None = None,
) -> list[Node]:
    """The nodes of the plan, with what they really did."""
    async with database.transaction() as session:
        connection = await session.connection()
        compiled = statement.compile(dialect=connection.dialect)
        given = {**compiled.params, **(values or {})}
        arguments = ", ".join(f"'{given[name]}'" for name in compiled.positiontup or ())
        await session.execute(text(f"SET LOCAL plan_cache_mode = {mode}"))
        await connection.exec_driver_sql(f"PREPARE probe AS {compiled}")
        answer = await connection.exec_driver_sql(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE probe({arguments})"
        )
        found = answer.scalar_one()
        await connection.exec_driver_sql("DEALLOCATE probe")
    plan = json.loads(found) if isinstance(found, str) else found
    return list(_nodes(plan[0]["Plan"]))


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def scans_of(nodes: list[Node], table: str, *aliases: str) -> list[Node]:
    return [
        node
        for node in nodes
        if node.get("Relation Name") == table and (not aliases or node["Alias"] in aliases)
    ]


def rows_read(node: Node) -> float:
    """Rows that a scan looked at, those that it then left out included."""
    left_out = node.get("Rows Removed by Filter", 0)
    return float((node["Actual Rows"] + left_out) * node["Actual Loops"])
