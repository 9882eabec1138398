"""`python3 -m dev <command>`: what the Makefile calls.

This file alone has to be readable by any Python 3, so that an old one gets a clear message.
"""

import sys

OLDEST_PYTHON = (3, 11)

if sys.version_info < OLDEST_PYTHON:
    sys.exit(
        "Auspex needs Python {}.{} or newer, and this is {}.{}.\n"
        "With a newer one installed, run for example: make run PYTHON=python3.12\n"
        "Or, with Docker: docker compose up --build".format(*OLDEST_PYTHON, *sys.version_info)
    )

from dev.commands import main  # noqa: E402 - after the check, because it uses newer syntax

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
