"""The context of a stream that many people share: it has services, and nobody who asks."""

from typing import NoReturn

from starlette.requests import HTTPConnection

from schema.edge.context import Context
from schema.edge.services import Services


class AskedWho(RuntimeError):
    """A mistake of ours: something in a shared answer depends on who asks."""

    def __init__(self) -> None:
        super().__init__(
            "A shared stream asked who is asking. Declare the field that did so `personal=True`, "
            "or the subscription without `shared=True`."
        )


class Nobody(Context):
    """Refuses every question about the caller, so that an undeclared personal field can't leak."""

    def __init__(self, services: Services, request_id: str) -> None:
        super().__init__(services, HTTPConnection({"type": "websocket"}), request_id=request_id)

    @property
    def authorization(self) -> NoReturn:
        raise AskedWho

    @property
    def address(self) -> NoReturn:
        raise AskedWho
