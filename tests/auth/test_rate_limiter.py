"""Counting in the real Redis, and without it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from auth.errors import RateLimited
from auth.limits import MOST_IN_MEMORY, RateLimiter
from tests.auth.redis_gate import gate_before

PATIENT = 20.0  # seconds; a busy machine must not look like a silent Redis


@pytest.fixture
async def limiter(redis_url: str) -> AsyncIterator[RateLimiter]:
    limiter = RateLimiter(redis_url, timeout_seconds=PATIENT)
    yield limiter
    assert limiter._circuit.admits()  # it was Redis that counted, all along
    await limiter.close()


async def granted(limiter: RateLimiter, caller: str, times: int, limit: int = 3) -> int:
    async def once() -> bool:
        try:
            await limiter.hit("forecast", caller, limit, 60)
        except RateLimited:
            return False
        return True

    return sum(await asyncio.gather(*(once() for _ in range(times))))


async def test_the_one_too_many_is_refused_and_told_when(limiter: RateLimiter, caller: str) -> None:
    left = [(await limiter.hit("forecast", caller, 3, 60)).remaining for _ in range(3)]
    assert left == [2, 1, 0]
    with pytest.raises(RateLimited) as caught:
        await limiter.hit("forecast", caller, 3, 60)
    assert 30 <= caught.value.retry_after <= 61


async def test_after_the_told_wait_it_works_again(limiter: RateLimiter, caller: str) -> None:
    for _ in range(2):
        await limiter.hit("login", caller, 2, 3)
    with pytest.raises(RateLimited) as caught:
        await limiter.hit("login", caller, 2, 3)
    await asyncio.sleep(caught.value.retry_after)
    await limiter.hit("login", caller, 2, 3)


async def test_operations_and_callers_are_counted_apart(limiter: RateLimiter, caller: str) -> None:
    await limiter.hit("login", caller, 1, 60)
    await limiter.hit("forecast", caller, 1, 60)
    await limiter.hit("login", caller + "x", 1, 60)
    with pytest.raises(RateLimited):
        await limiter.hit("login", caller, 1, 60)


async def test_cost_is_taken_whole_or_not_at_all(limiter: RateLimiter, caller: str) -> None:
    assert (await limiter.hit("query", caller, 100, 60, cost=70)).remaining == 30
    with pytest.raises(RateLimited):
        await limiter.hit("query", caller, 100, 60, cost=31)
    assert (await limiter.hit("query", caller, 100, 60, cost=30)).remaining == 0
    with pytest.raises(RateLimited) as never:
        await limiter.hit("query", caller, 100, 60, cost=101)
    assert never.value.retry_after in {60, 61}


async def test_peek_takes_nothing(limiter: RateLimiter, caller: str) -> None:
    for _ in range(5):
        allowance = await limiter.peek("query", caller, 3, 60)
        assert (allowance.limit, allowance.remaining) == (3, 3)
    await limiter.hit("query", caller, 3, 60)
    allowance = await limiter.peek("query", caller, 3, 60)
    assert allowance.remaining == 2
    assert timedelta() < allowance.reset_at - datetime.now(UTC) <= timedelta(seconds=60)


async def test_processes_share_one_count(limiter: RateLimiter, redis_url: str, caller: str) -> None:
    other = RateLimiter(redis_url, timeout_seconds=PATIENT)
    assert (await limiter.hit("query", caller, 3, 60)).remaining == 2
    assert (await other.hit("query", caller, 3, 60)).remaining == 1
    await other.close()


async def test_a_burst_gets_no_more_than_the_limit(limiter: RateLimiter, caller: str) -> None:
    assert await granted(limiter, caller, times=300, limit=30) == 30


async def test_no_name_or_address_reaches_redis(
    limiter: RateLimiter, redis_url: str, caller: str
) -> None:
    await limiter.hit("login", f"ana@example.com{caller}" + "x" * 10_000, 3, 60)
    await limiter.hit("login", "\ud800" + caller, 3, 60)
    async with Redis.from_url(redis_url) as redis:
        keys = [key async for key in redis.scan_iter("LIMITS:*login*")]
    assert keys
    assert max(map(len, keys)) < 100
    assert not any(b"ana" in key for key in keys)


async def test_switched_off_it_asks_nobody(caller: str) -> None:
    limiter = RateLimiter("redis://127.0.0.1:9/0", enabled=False)
    with capture_logs() as logs:
        for _ in range(5):
            assert (await limiter.hit("login", caller, 1, 60)).remaining == 1
        assert (await limiter.peek("login", caller, 1, 60)).remaining == 1
    assert logs == []
    await limiter.close()


async def test_without_redis_it_still_limits_and_warns_once(caller: str) -> None:
    limiter = RateLimiter("redis://user:s3cret@127.0.0.1:9/0", retry_seconds=0)
    with capture_logs() as logs:
        assert await granted(limiter, caller, times=20) == 3
        assert (await limiter.peek("forecast", caller, 3, 60)).remaining == 0
    assert [entry["event"] for entry in logs] == ["service_unavailable"]
    assert logs[0]["log_level"] == "warning"
    assert "s3cret" not in str(logs)
    await limiter.close()


async def test_a_frozen_redis_costs_its_time_out_once(caller: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        limiter = RateLimiter(f"redis://127.0.0.1:{port}/0", timeout_seconds=1.0)
        began = time.perf_counter()
        assert await granted(limiter, caller, times=200, limit=100) == 100
        for _ in range(100):
            await limiter.peek("forecast", caller, 100, 60)
        # Sixteen at a time would make 13 time-outs of the first 200 alone.
        assert 0.9 < time.perf_counter() - began < 8
        await limiter.close()


async def test_comes_back_to_redis_by_itself(redis_url: str, caller: str) -> None:
    async with gate_before(redis_url) as gate:
        limiter = RateLimiter(gate.url, timeout_seconds=1.0, retry_seconds=0.5)
        assert (await limiter.hit("query", caller, 100, 60)).remaining == 99
        gate.freeze()
        with capture_logs() as logs:
            assert (await limiter.hit("query", caller, 100, 60)).remaining == 99  # our own count
            assert (await limiter.hit("query", caller, 100, 60)).remaining == 98
            gate.thaw()
            async with asyncio.timeout(60):
                while "service_back" not in [entry["event"] for entry in logs]:
                    await asyncio.sleep(0.05)
                    shared = await limiter.peek("query", caller, 100, 60)
        assert [entry["event"] for entry in logs] == ["service_unavailable", "service_back"]
        # Frozen calls may have arrived after all; the second is one only if it came late.
        assert shared.remaining in {97, 98, 99}
        await limiter.close()


async def test_a_restart_of_redis_goes_unnoticed(redis_url: str, caller: str) -> None:
    async with gate_before(redis_url) as gate:
        limiter = RateLimiter(gate.url, timeout_seconds=PATIENT)
        await granted(limiter, caller, times=10, limit=100)
        gate.slam()
        await asyncio.sleep(0.05)
        with capture_logs() as logs:
            assert await granted(limiter, caller, times=10, limit=100) == 10
        assert logs == []
        assert (await limiter.peek("forecast", caller, 100, 60)).remaining == 80
        await limiter.close()


async def test_hung_up_calls_do_not_mix_up_the_answers(redis_url: str, caller: str) -> None:
    async with gate_before(redis_url) as gate:
        limiter = RateLimiter(gate.url, timeout_seconds=PATIENT)
        await granted(limiter, caller, times=20, limit=1_000)
        gate.freeze()
        calls = [asyncio.create_task(limiter.hit("x", caller, 5, 60)) for _ in range(16)]
        await asyncio.sleep(0.05)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        gate.thaw()
        answers = await asyncio.gather(
            *(limiter.peek("forecast", caller, 1_000, 60) for _ in range(40))
        )
        assert {answer.remaining for answer in answers} == {980}
        await limiter.close()


async def test_memory_stays_bounded_without_redis() -> None:
    limiter = RateLimiter("redis://127.0.0.1:9/0", retry_seconds=1_000)
    limiter._own.storage.update({str(number): 1 for number in range(MOST_IN_MEMORY + 1)})
    await limiter.hit("login", "anybody", 3, 60)
    assert len(limiter._own.storage) < 5
    await limiter.close()
