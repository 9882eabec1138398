"""Training by command, and what a worker does when it is asked for one."""

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from commands.operator import now, open_database, settings_with_logs
from db.queries.models import ServedVersion, champions_by_key
from db.session import Database
from db.transactions.models import (
    RegisteredVersion,
    ensure_model,
    register_version,
)
from ml.attendance.spec import ATTENDANCE_SPEC, LABEL, TIME_COLUMN
from ml.attendance.spec import KEY as ATTENDANCE_KEY
from ml.champion_file import publish_champion
from ml.csv_tables import InvalidFile, read_csv_file
from ml.tables import NotEnoughData
from ml.tables import Table as Rows
from schema.edge.definitions import DEFINITIONS
from settings import Settings
from tasks.child import run_in_child
from tasks.resources import Train, Training

if TYPE_CHECKING:
    from commands.order import TrainedFile, TrainingOrder

# Every process that runs a command imports this module. scikit-learn, which commands.order
# brings, costs a second and 70 MB: it is imported where something is trained, and only there.

MOST_REFUSALS = 10

Key = Annotated[str, typer.Argument(help="Key of the model.")]
Csv = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Your table; else the synthetic generator."),
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="The same seed and table give the same model.")
]
Promote = Annotated[bool, typer.Option(help="Let it become champion if it is not worse.")]


async def make_order(
    database: Database, settings: Settings, key: str, rows: Rows | None = None, seed: int = 0
) -> "tuple[TrainingOrder, int | None]":
    """The order, and the id of the champion that it is measured against."""
    from commands.order import TrainingOrder  # noqa: PLC0415

    async with database.read() as reader:
        champion = (await champions_by_key(reader)).get(key)
    folder = settings.artifact_path(key).parent
    file = (folder / champion.path, champion.sha256) if champion else None
    return TrainingOrder(key, folder, file, rows, seed), champion.version_id if champion else None


def train_for_job(database: Database, settings: Settings) -> Train:
    """For the worker: trains in a child process, so that the worker stays responsive."""

    async def train(key: str) -> Training:
        from commands.order import carry_out  # noqa: PLC0415

        order, better_than = await make_order(database, settings, key)
        trained = await run_in_child(carry_out, order)
        publish = partial(
            publish_champion, order.folder / trained.artifact.path, settings.artifact_path(key)
        )
        return Training(trained.artifact, better_than, trained.comparison.promote, publish)

    return train


def train(
    model: Key = ATTENDANCE_KEY, csv: Csv = None, seed: Seed = 0, promote: Promote = True
) -> None:
    """Train a model and register the version; it serves at once if it is not worse."""
    settings = settings_with_logs()
    if model not in DEFINITIONS:
        raise SystemExit(f"There is no model '{model}'; there are: {', '.join(DEFINITIONS)}.")
    try:
        rows = read_rows(csv) if csv else None
        asyncio.run(_train(settings, model, rows, seed, promote))
    except (InvalidFile, NotEnoughData, OSError) as error:
        raise SystemExit(f"Nothing was trained: {error}") from None


def read_rows(csv: Path) -> Rows:
    """The table's rows; tells which were left out. Raises InvalidFile and OSError."""
    read = read_csv_file(csv, ATTENDANCE_SPEC, label=LABEL, time_column=TIME_COLUMN)
    console = Console(stderr=True)
    if read.refused_rows:
        console.print(f"{read.refused_rows} of the rows were left out:")
    for refused in read.refused[:MOST_REFUSALS]:
        console.print(f"  line {refused.line}, {refused.column}: {refused.message}", markup=False)
    return read.table


def train_model(
    model: Annotated[str, typer.Option(help="Key of the model.")] = ATTENDANCE_KEY,
) -> None:
    """Train a model on its generator (the same as `train MODEL`)."""
    train(model)


def train_missing() -> None:
    """Train the models that no version serves yet; nothing to do is done quickly."""
    settings = settings_with_logs()
    for key in asyncio.run(_missing(settings)):
        asyncio.run(_train(settings, key, None, 0, True))


async def _missing(settings: Settings) -> list[str]:
    async with open_database(settings) as database:
        async with database.read() as reader:
            champions = await champions_by_key(reader)
        return [key for key in DEFINITIONS if not _servable(settings, key, champions.get(key))]


def _servable(settings: Settings, key: str, champion: ServedVersion | None) -> bool:
    folder = settings.artifact_path(key).parent
    return champion is not None and (folder / champion.path).exists()


async def _train(settings: Settings, key: str, rows: Rows | None, seed: int, promote: bool) -> None:
    async with open_database(settings) as database:
        order, better_than = await make_order(database, settings, key, rows, seed)
        trained = await asyncio.to_thread(_with_progress_bar, order)
        async with database.transaction() as session:
            model_id = await ensure_model(session, DEFINITIONS[key], now())
            registered = await register_version(
                session,
                model_id,
                trained.artifact,
                promote=promote and trained.comparison.promote,
                better_than=better_than,
                reason=f"auspex train: {trained.comparison.reason}",
                now=now(),
            )
    if registered.promoted:
        publish_champion(order.folder / trained.artifact.path, settings.artifact_path(key))
    report(trained, registered)


def _with_progress_bar(order: "TrainingOrder") -> "TrainedFile":
    from commands.order import carry_out  # noqa: PLC0415

    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"Training {order.key}", total=None)

        def show(done: int, total: int, stage: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{order.key}: {stage}")

        return carry_out(order, show)


def report(trained: "TrainedFile", registered: RegisteredVersion) -> None:
    """How good it is, on rows it has not seen, beside the champion on the same rows."""
    table = Table("on the hold-out", "new", "champion")
    new, old = trained.comparison.candidate, trained.comparison.champion
    for name in ("log_loss", "brier", "roc_auc", "accuracy", "precision", "recall"):
        present = f"{getattr(old, name):.4f}" if old else ""
        table.add_row(name.replace("_", " "), f"{getattr(new, name):.4f}", present)
    console = Console()
    console.print(table)
    artifact = trained.artifact
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in trained.candidates.items())
    console.print(f"Families by log loss: {losses}. Chosen: {artifact.model_type}.")
    console.print(f"{registered.version} on {artifact.rows} rows: {trained.comparison.reason}.")
    console.print("It serves now." if registered.promoted else "It is registered, and not serving.")


COMMANDS = {"train": train, "train-model": train_model, "train-missing": train_missing}
