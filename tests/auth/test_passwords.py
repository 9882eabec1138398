import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from auth.errors import RateLimited
from auth.passwords import Passwords


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    quick = Passwords(time_cost=1, memory_kib=64, parallelism=1)
    yield quick
    quick.close()


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that Argon2 really worked on."""
    seen: list[str] = []
    original = PasswordHasher.verify

    def counted(self: PasswordHasher, password_hash: str, password: bytes) -> Any:
        try:
            return original(self, password_hash, password)
        finally:
            if password_hash.startswith("$argon2"):
                seen.append(password_hash)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    return seen


async def test_tells_right_from_wrong(passwords: Passwords) -> None:
    stored = await passwords.hash("test123")
    assert stored.startswith("$argon2id$")
    assert await passwords.verify(stored, "test123")
    assert not await passwords.verify(stored, "test124")
    assert await passwords.hash("test123") != stored


async def test_nobody_and_a_wrong_password_cost_the_same(
    passwords: Passwords, verifications: list[str]
) -> None:
    stored = await passwords.hash("test123")
    assert not await passwords.verify(stored, "wrong")
    assert not await passwords.verify(None, "wrong")
    assert not await passwords.verify("!disabled", "wrong")
    costs = {entry.rsplit("$", 2)[0] for entry in verifications}
    assert len(verifications) == 3
    assert costs == {stored.rsplit("$", 2)[0]}  # the same algorithm, memory, passes and lanes


async def test_the_default_costs_are_those_of_rfc_9106() -> None:
    passwords = Passwords()
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in await passwords.hash("test123")
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in passwords._nobody
    passwords.close()


@pytest.mark.parametrize("word", ["", "contraseña", "\x00", "\ud800", "🔑" * 200, "p" * 1_024])
async def test_takes_any_text(passwords: Passwords, word: str) -> None:
    assert await passwords.verify(await passwords.hash(word), word)
    assert not await passwords.verify(None, word)


async def test_the_keyboard_does_not_matter(passwords: Passwords) -> None:
    composed, combining = "contrase\u00f1a", "contrasen\u0303a"
    assert await passwords.verify(await passwords.hash(composed), combining)


async def test_old_costs_are_noticed(passwords: Passwords) -> None:
    stored = await passwords.hash("test123")
    assert not passwords.needs_rehash(stored)
    stronger = Passwords(time_cost=2, memory_kib=64, parallelism=1)
    assert stronger.needs_rehash(stored)
    assert await stronger.verify(stored, "test123")
    stronger.close()


async def test_a_flood_is_turned_away_and_the_loop_goes_on() -> None:
    slow = Passwords(time_cost=8, memory_kib=8_192, parallelism=1, at_once=2, waiting=6)
    answers = asyncio.gather(
        *(slow.verify(None, "guess") for _ in range(100)), return_exceptions=True
    )
    ticks = 0
    while not answers.done():
        await asyncio.sleep(0.001)
        ticks += 1
    results = await answers
    turned_away = [answer for answer in results if isinstance(answer, RateLimited)]
    assert len(turned_away) == 92
    assert results.count(False) == 8
    assert turned_away[0].retry_after == 1
    assert ticks > 3  # some 60 on a quiet machine, 1 on a blocked loop
    assert not await slow.verify(None, "guess")  # and then it serves again
    slow.close()


async def test_cancelled_requests_do_not_widen_the_door() -> None:
    slow = Passwords(time_cost=8, memory_kib=8_192, parallelism=1, at_once=1, waiting=1)
    running = 0
    most = 0
    original = slow._matches

    def watched(password_hash: str, password: str) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return original(password_hash, password)
        finally:
            running -= 1

    slow._matches = watched  # type: ignore[method-assign]
    for _ in range(10):
        task = asyncio.create_task(slow.verify(None, "guess"))
        await asyncio.sleep(0.002)
        task.cancel()
    assert not await slow.verify(None, "guess")
    assert most == 1
    slow.close()


async def test_a_fault_of_the_machine_is_not_a_wrong_password(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> bool:
        raise VerificationError("Memory allocation error")

    monkeypatch.setattr(PasswordHasher, "verify", out_of_memory)
    with pytest.raises(VerificationError):
        await passwords.verify(None, "test123")
