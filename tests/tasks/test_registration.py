"""A worker knows every job there is."""

import json
import pkgutil
import subprocess
import sys

import dramatiq
import pika
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker

import tasks
from tasks.broker import declare_actors, make_broker
from tasks.jobs import JOBS, JobArgs, JobContext, job
from tests.databases import ROOT


def names_after(statement: str) -> list[str]:
    """The jobs that a fresh interpreter knows after that."""
    program = f"{statement}; import json, tasks.jobs; print(json.dumps(sorted(tasks.jobs.JOBS)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [str(name) for name in json.loads(done.stdout)]


def test_importing_the_package_registers_every_job() -> None:
    modules = [f"tasks.{module.name}" for module in pkgutil.iter_modules(tasks.__path__)]
    everything = names_after("; ".join(f"import {name}" for name in modules))
    assert names_after("import tasks") == everything
    assert "models.train" in everything


def test_the_worker_has_an_actor_for_each_on_the_configured_queue() -> None:
    broker = make_broker("redis://127.0.0.1:1/0")

    async def run(*_: object) -> None: ...

    declare_actors(broker, "ml_tasks", run)
    assert set(broker.actors) == set(JOBS)
    assert {actor.queue_name for actor in broker.actors.values()} == {"ml_tasks"}
    assert broker.get_declared_queues() == {"ml_tasks"}


def test_a_name_is_declared_once() -> None:
    async def handler(context: JobContext, args: JobArgs) -> None: ...

    with pytest.raises(ValueError, match="declared twice"):
        job("models.train")(handler)


def test_the_broker_follows_the_scheme() -> None:
    redis = make_broker("redis://127.0.0.1:1/3")
    assert isinstance(redis, RedisBroker)
    assert (redis.heartbeat_timeout, redis.maintenance_chance) == (10_000, 1_000_000)
    rabbit = make_broker("amqp://guest:guest@127.0.0.1:1/jobs?heartbeat=20")
    assert isinstance(rabbit, RabbitmqBroker)
    assert rabbit.confirm_delivery
    assert isinstance(rabbit.parameters, pika.URLParameters)
    assert rabbit.parameters.socket_timeout == 3
    assert rabbit.parameters.heartbeat == 20
    assert rabbit.parameters.virtual_host == "jobs"


def test_dramatiq_decides_nothing_about_jobs() -> None:
    kinds = {type(middleware) for middleware in make_broker("redis://127.0.0.1:1").middleware}
    assert kinds == {dramatiq.middleware.AsyncIO}
