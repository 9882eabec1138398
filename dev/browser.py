"""The browser that the tests of the pages drive."""

import os
import platform
import shutil
from pathlib import Path

from dev.folder import DataFolder
from dev.terminal import SetupError, say, step
from dev.tools import VENV, run_logged

VARIABLE = "CHROMIUM"
NAMES = ("chromium", "google-chrome", "chrome")


def system_browser() -> str | None:
    return os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)


def offered_by_the_system() -> bool:
    """Debian has the package; Ubuntu's only installs a snap, for which many have no snapd."""
    try:
        return platform.freedesktop_os_release().get("ID") != "ubuntu"
    except OSError:
        return True


def find_browser(folder: DataFolder) -> str | None:
    return system_browser() or _downloaded(folder)


def download_if_missing(folder: DataFolder) -> None:
    """Playwright's own build, where the system has none to offer."""
    if find_browser(folder) is not None:
        return
    command = [str(VENV / "bin" / "playwright"), "install", "--with-deps", "chromium"]
    log = folder.logs / "browser.log"
    try:
        with step("A browser for the tests"):
            home = {"PLAYWRIGHT_BROWSERS_PATH": str(_home(folder))}
            run_logged(command, log, env=os.environ | home)
    except SetupError:
        # The other tests are worth running all the same; those of the pages will fail.
        say(f"  No browser; install Chromium or set {VARIABLE} to its path. See {log}")


def _home(folder: DataFolder) -> Path:
    return folder.tools / "browser"


def _downloaded(folder: DataFolder) -> str | None:
    found = sorted(_home(folder).glob("chromium-*/chrome-linux*/chrome"))
    return str(found[-1]) if found else None
