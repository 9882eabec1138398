"""Passwords: Argon2id, off the event loop, a few at a time."""

import asyncio
import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from auth.errors import RateLimited

PASSWORD_MAX_BYTES = 1_024
"""Longer ones are for the caller to refuse: hashing would read megabytes for nothing."""

T = TypeVar("T")


class Passwords:
    """The defaults are the low-memory profile of RFC 9106: 64 MiB and 3 passes a password.

    `at_once` times `memory_kib` is the most memory that logins can take. Beyond `waiting` calls in
    the queue both `hash` and `verify` raise RateLimited: a flood of logins is turned away instead
    of being answered minutes later.
    """

    def __init__(
        self,
        *,
        time_cost: int = RFC_9106_LOW_MEMORY.time_cost,
        memory_kib: int = RFC_9106_LOW_MEMORY.memory_cost,
        parallelism: int = RFC_9106_LOW_MEMORY.parallelism,
        at_once: int = 2,
        waiting: int = 32,
    ) -> None:
        self._hasher = PasswordHasher(time_cost, memory_kib, parallelism)
        self._nobody = _unmatched_hash(self._hasher)
        # A pool of its own, not a semaphore around the shared one: a client that hangs up cancels
        # its request but not the thread, so a semaphore would be free while the work goes on.
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="argon2")
        self._most = at_once + waiting
        self._pending = 0

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(_octets(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """With None (no such user) it works as long as for a wrong password and says False."""
        return await self._run(lambda: self._matches(password_hash or self._nobody, password))

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters; ask after a successful `verify`."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _octets(password))
        except VerifyMismatchError:
            return False
        except InvalidHashError:
            # Not a hash of ours (an account whose password was disabled): nothing matches it, and
            # the answer must not come sooner than for the others.
            return password_hash != self._nobody and self._matches(self._nobody, password)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= self._most:
            raise RateLimited(1, "Too many people are signing in right now. Try again in 1 s.")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._pending -= 1


def _octets(password: str) -> bytes:
    """The same password typed on another system: NFKC, as NIST SP 800-63B asks.

    JSON can carry half of a surrogate pair, which plain UTF-8 refuses to encode.
    """
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _unmatched_hash(hasher: PasswordHasher) -> str:
    """A hash with these parameters that no password is known to have made."""
    salt, digest = (
        b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
        for length in (hasher.salt_len, hasher.hash_len)
    )
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"
