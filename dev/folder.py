"""Where things lie: the project, its data folder, and the environment with `.env` under it."""

import fcntl
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.terminal import SetupError

PROJECT = Path(__file__).resolve().parent.parent


def parse_env_file(text: str) -> dict[str, str]:
    """`NAME=value` lines as docker compose reads them; a value may be quoted, ` #` ends a bare one.

    An empty value counts as not set, so that a line of `.env.example` may stay unfilled.
    """
    found: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip().removeprefix("export ")
        name, separator, value = line.partition("=")
        if not separator or line.startswith("#") or not name.strip().isidentifier():
            continue
        if bare := _unquoted(value.strip()):
            found[name.strip()] = bare
    return found


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote in {"'", '"'} and (end := value.find(quote, 1)) > 0:
        return value[1:end]
    return "" if quote == "#" else value.split(" #", 1)[0].strip()


def environment(real: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The real environment over the project's `.env`; empty variables count as not set."""
    file = PROJECT / ".env"
    merged = parse_env_file(file.read_text(encoding="utf-8")) if file.is_file() else {}
    merged.update({name: value for name, value in real.items() if value})
    return merged


@dataclass(frozen=True)
class DataFolder:
    """Everything that `make` keeps between runs; git ignores it, and deleting it starts afresh."""

    path: Path

    @classmethod
    def open(cls, env: Mapping[str, str]) -> "DataFolder":
        path = Path(env.get("AUSPEX_DATA") or PROJECT / ".auspex").expanduser().absolute()
        folder = cls(path)
        try:
            for place in (path, folder.logs, folder.tools):
                place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(
                f"cannot write to {error.filename}: {error.strerror}. It may have been made by"
                " another user; run as that user, or point AUSPEX_DATA to a folder of your own."
            ) from error
        if os.geteuid() not in {0, path.stat().st_uid}:
            raise SetupError(
                f"{path} belongs to another user (perhaps an earlier run as root). Run as that"
                f" user, delete it (it holds the development data), or set AUSPEX_DATA."
            )
        return folder

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def tools(self) -> Path:
        return self.path / "tools"

    def secret(self, name: str) -> str:
        """A random value that is made once and kept in a file that only its owner reads."""
        file = self.path / name
        if not file.exists():
            write_private(file, secrets.token_urlsafe(48))
        return file.read_text(encoding="ascii").strip()


def write_private(file: Path, text: str) -> None:
    """Mode 600 from its first moment, and replaced whole: a crash leaves the old or the new."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(file)


class FileLock:
    """An advisory lock that the kernel drops with its process, however that ends."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stream = file.open("a+", encoding="utf-8")

    def hold(self, *, shared: bool = False, wait: bool = True) -> bool:
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self._stream, mode if wait else mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def note(self, text: str) -> None:
        self._stream.seek(0)
        self._stream.truncate()
        self._stream.write(text)
        self._stream.flush()

    def read_note(self) -> str:
        return self.file.read_text(encoding="utf-8").strip()

    def release(self) -> None:
        self._stream.close()
