"""What of an exception may be stored and shown, and which ones are nobody's mistake."""

import re

from sqlalchemy.exc import DBAPIError

_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+@")
_SECRETS = re.compile(
    r"(?i)\b(password|passwd|secret|token|api[_-]?key|authorization)(\W{1,3}(?:bearer\s+)?)[^\s,;&]+"
)


def error_text(error: BaseException) -> str:
    """Type and message, without what looks like a secret.

    A database error's own text repeats the statement with its parameters, and the lines after the
    driver's first one repeat column values: both are left out.
    """
    message = str(error)
    if isinstance(error, DBAPIError):
        message = str(error.orig).partition("\n")[0]
    message = _CREDENTIALS.sub("***@", message)
    message = _SECRETS.sub(r"\1\2***", message)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
