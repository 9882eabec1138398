import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.folder import PROJECT
from tests.dev.stand_in import PATIENT, STUB, Copy, write_program


@pytest.fixture
def reachable_path() -> Iterator[Path]:
    """Like tmp_path, but open to the user that the services run as when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="auspex-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def copy(reachable_path: Path) -> Iterator[Copy]:
    shutil.copytree(PROJECT / "dev", reachable_path / "dev")
    venv, tools = reachable_path / ".venv", reachable_path / "tools"
    write_program(venv / "bin" / "auspex", STUB.format(python=sys.executable, venv=venv))
    write_program(venv / "bin" / "python", "#!/bin/sh\n")
    write_program(tools / "uv", "#!/bin/sh\necho uv 99.0.0\n")
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    made = Copy(reachable_path, kept | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"})
    yield made
    for process in made.started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in made.started:
        process.wait(PATIENT)
