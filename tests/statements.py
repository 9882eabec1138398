"""Counts the SQL statements that something causes: the proof against a query per row."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import event

from db.session import Database

_counting: ContextVar[list[str] | None] = ContextVar("_counting", default=None)


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements sent to PostgreSQL by what is called inside the block, in order.

    Not those of the tasks that ran before: the server looks for new champions every second.
    """
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if _counting.get() is sent:
            sent.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    token = _counting.set(sent)
    try:
        yield sent
    finally:
        _counting.reset(token)
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)
