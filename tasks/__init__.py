"""Work outside the request. Each module of jobs is imported here: a worker that had not imported
one could not carry out its jobs."""

from tasks import models, notifications, promos

__all__ = ["models", "notifications", "promos"]
