"""Where the API of `make run` listens."""

import http.client
from collections.abc import Mapping

from dev.processes import port_is_free
from dev.terminal import SetupError

FIRST_PORT = 8000


class Address:
    """The PORT that was asked for, else the first free one from 8000."""

    def __init__(self, env: Mapping[str, str]) -> None:
        given = env.get("PORT")
        self.fixed = given is not None
        self.port = _number(given) if given else _next_free()
        if not port_is_free(self.port):
            raise SetupError(f"PORT={given} is taken by another program; choose another PORT")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    def choose_again(self) -> None:
        """Another copy, started at the same moment, may have been quicker to take the port."""
        if not self.fixed and not port_is_free(self.port):
            self.port = _next_free()

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _number(given: str) -> int:
    if not given.isdecimal() or not 0 < int(given) < 65_536:
        raise SetupError(f"PORT={given} is not a port number")
    return int(given)


def _next_free() -> int:
    return next(port for port in range(FIRST_PORT, 65_536) if port_is_free(port))
