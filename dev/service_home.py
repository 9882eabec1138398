"""The folder that holds the private services of a data folder."""

import hashlib
import subprocess
from pathlib import Path

from dev.private_service import service_account
from dev.processes import Account
from dev.terminal import say

SYSTEM_PLACE = Path("/var/lib/auspex")


def service_home(data_folder: Path, purpose: str) -> Path:
    """Below the data folder, unless the services' user cannot get there.

    As root the services run as the user `postgres`, for whom a project under /root, say, is out
    of reach; then they live below /var/lib/auspex, in a folder named by a hash of the path.
    """
    home = data_folder / purpose
    home.mkdir(parents=True, exist_ok=True)
    account = service_account()
    if account is None or _can_enter(account, home):
        return home
    digest = hashlib.sha256(str(data_folder).encode()).hexdigest()[:12]
    moved = SYSTEM_PLACE / digest / purpose
    moved.mkdir(parents=True, exist_ok=True)
    say(f"  The user '{account.name}' cannot enter {home}; its data is in {moved}")
    return moved


def _can_enter(account: Account, folder: Path) -> bool:
    tried = subprocess.run(
        ["test", "-x", str(folder)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return tried.returncode == 0
