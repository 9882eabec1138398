"""The told wait is the true one: not longer than needed, and never too short."""

from hypothesis import given, settings
from hypothesis import strategies as st

from auth.windows import Window, whole_seconds

SMALL = st.integers(0, 50)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    length = draw(st.integers(1, 3_600))
    shift = draw(st.floats(0.01, length))
    limit = draw(st.integers(1, 50))
    return Window(limit, length, draw(SMALL), shift, draw(SMALL), shift)


def used_after(window: Window, seconds: float) -> int:
    """The counter's own rule, with nobody calling in between."""
    if seconds < window.shift:
        left = window.previous_ttl - seconds
        return window.current + int(window.previous * left / window.length)
    left = max(0.0, window.length - (seconds - window.shift))
    return int(window.current * left / window.length)


@settings(deadline=None)
@given(windows(), SMALL)
def test_fits_after_the_wait_and_not_before(window: Window, cost: int) -> None:
    wait = window.wait(cost)
    if cost > window.limit:
        assert wait == window.length
        return
    assert used_after(window, wait + 1e-6) + cost <= window.limit
    if wait > 1e-3:
        assert used_after(window, wait - 1e-3) + cost > window.limit


@settings(deadline=None)
@given(windows())
def test_what_remains_is_what_fits(window: Window) -> None:
    assert 0 <= window.remaining <= window.limit
    if window.remaining:
        assert window.wait(window.remaining) == 0
    if window.remaining < window.limit:
        assert window.wait(window.remaining + 1) > 0


def test_seconds_are_rounded_up() -> None:
    assert [whole_seconds(wait) for wait in (0.0, 0.2, 1.0, 1.5, 59.9995)] == [1, 1, 2, 2, 61]
