import pytest
from structlog.testing import capture_logs

from auth.circuit import WARN_EVERY_SECONDS, Circuit
from tests.auth.clocks import Clock


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit("redis", retry_seconds=5.0, clock=clock)


def test_one_failure_opens_and_one_caller_tries_again(circuit: Circuit, clock: Clock) -> None:
    assert [circuit.admits() for _ in range(3)] == [True, True, True]
    circuit.failed(OSError())
    assert not circuit.admits()
    clock.seconds += 5
    assert [circuit.admits() for _ in range(3)] == [True, False, False]
    clock.seconds += 5
    assert circuit.admits()  # the one before never reported back: it was cancelled
    circuit.succeeded()
    assert [circuit.admits() for _ in range(3)] == [True, True, True]


def test_warns_once_a_minute(circuit: Circuit, clock: Clock) -> None:
    with capture_logs() as logs:
        for _ in range(12):
            circuit.failed(TimeoutError("redis://:s3cret@host"))
            clock.seconds += WARN_EVERY_SECONDS / 6
    assert len(logs) == 2
    assert logs[0] == {
        "event": "service_unavailable",
        "service": "redis",
        "error": "TimeoutError",
        "log_level": "warning",
    }
