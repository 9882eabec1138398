"""When to leave a broken service alone."""

import time
from collections.abc import Callable

import structlog

WARN_EVERY_SECONDS = 60.0

log = structlog.get_logger()


class Circuit:
    """Open after one failure; from then on one caller every `retry_seconds` may try again."""

    def __init__(
        self, service: str, retry_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.service = service
        self.retry_seconds = retry_seconds
        self._clock = clock
        self._next_try: float | None = None
        self._next_warning = 0.0

    def admits(self) -> bool:
        """Whether to try the service. While open, True is given to one caller at a time."""
        if self._next_try is None:
            return True
        now = self._clock()
        if now < self._next_try:
            return False
        self._next_try = now + self.retry_seconds
        return True

    def succeeded(self) -> None:
        if self._next_try is not None:
            self._next_try = None
            log.info("service_back", service=self.service)

    def failed(self, error: Exception) -> None:
        now = self._clock()
        self._next_try = now + self.retry_seconds
        if now >= self._next_warning:
            self._next_warning = now + WARN_EVERY_SECONDS
            # The type only: the text of a connection error can hold the address.
            log.warning("service_unavailable", service=self.service, error=type(error).__name__)
