import ast
import subprocess
import sys
from pathlib import Path

import pytest

from dev import tools
from dev.folder import PROJECT, DataFolder
from dev.tools import OLDEST_NODE, UV_VERSION, Tools
from tests.dev.stand_in import write_program


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A web folder whose build writes a line each time, by a stand-in for npm."""
    monkeypatch.setattr(tools, "PROJECT", tmp_path)
    monkeypatch.setattr(tools, "WEB", tmp_path / "web")
    monkeypatch.setattr(tools, "BUILT_FROM", tmp_path / "web" / "static" / ".built-from")
    programs = tmp_path / "programs"
    write_program(programs / "node", "#!/bin/sh\necho v24.1.0\n")
    write_program(programs / "npm", '#!/bin/sh\necho "$@" >> ../calls\nmkdir -p static\n')
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "package.json").write_text("{}")
    (folder / "page.tsx").write_text("first")
    return folder


def builds(web: Path) -> int:
    calls = web.parent / "calls"
    return calls.read_text().count("run build") if calls.exists() else 0


def test_pages_are_built_once_and_again_when_a_source_changes(web: Path) -> None:
    made = Tools(DataFolder.open({"AUSPEX_DATA": str(web.parent / "data")}))
    made.web_pages()
    made.web_pages()
    assert builds(web) == 1
    (web / "page.tsx").write_text("second")
    (web / "node_modules").mkdir()
    (web / "node_modules" / "cache").touch()
    made.web_pages()
    assert builds(web) == 2
    made.web_pages()
    assert builds(web) == 2


def test_uv_on_the_path_is_used_if_it_is_recent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Tools(DataFolder.open({"AUSPEX_DATA": str(tmp_path / "data")}))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    write_program(tmp_path / "uv", "#!/bin/sh\necho uv 0.1.0\n")
    assert made.uv_on_path() is None
    write_program(tmp_path / "uv", f"#!/bin/sh\necho 'uv {UV_VERSION} (x86_64)'\n")
    assert made.uv_on_path() == str(tmp_path / "uv")


def test_the_image_and_make_use_the_same_uv() -> None:
    assert f"uv=={UV_VERSION}" in (PROJECT / "Dockerfile").read_text()


def test_node_is_as_new_as_the_pages_ask_for() -> None:
    asked = (PROJECT / "web" / "package.json").read_text()
    assert f'"node": ">={".".join(map(str, OLDEST_NODE))}"' in asked


def test_old_python_gets_a_clear_message() -> None:
    script = (
        "import runpy, sys; sys.version_info = (3, 9, 2, 'final', 0);"
        "runpy.run_module('dev', run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "needs Python 3.11 or newer, and this is 3.9" in ended.stderr
    assert "docker compose up --build" in ended.stderr


@pytest.mark.parametrize("name", ["__init__.py", "__main__.py"])
def test_what_runs_before_that_message_is_old_python_too(name: str) -> None:
    ast.parse((PROJECT / "dev" / name).read_text(), feature_version=(3, 6))


def test_the_tools_need_nothing_but_the_standard_library() -> None:
    known = sys.stdlib_module_names | {"dev"}
    for file in (PROJECT / "dev").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= known, file
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] in known, file
