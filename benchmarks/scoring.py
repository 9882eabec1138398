"""What a score, a batch and an explanation cost, beside scikit-learn on the same model and rows.

Also what serving saves by not importing scikit-learn: time to a loaded model, and memory.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from timeit import repeat
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ml.artifacts import load_artifact, save_artifact
from ml.attendance.generator import generate
from ml.attendance.spec import ATTENDANCE_SPEC, EXAMPLE_ATTENDEE
from ml.attendance.training import train_attendance
from ml.families import LogisticSplines
from ml.training import TrainedModel, train

BATCH = 500
STARTS = 5
START = """
import sys, time
from pathlib import Path
started = time.perf_counter()
{imports}
from ml.artifacts import load_artifact, load_estimator
model = {load}(Path({path!r}), {sha256!r})
seconds = time.perf_counter() - started
assert ("sklearn" in sys.modules) == {sklearn}
pages = int(Path("/proc/self/statm").read_text().split()[1])
print(seconds, pages * 4096 / 1e6)
"""


def microseconds(work: Callable[[], object], number: int) -> float:
    work()
    return median(repeat(work, number=number, repeat=15)) / number * 1e6


def buyers(rows: int) -> list[dict[str, Any]]:
    columns = generate(rows, seed=1).table.columns
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def speed(model: TrainedModel) -> None:
    scorer, estimator = model.scorer, model.estimator
    payloads = buyers(BATCH)
    one, many = scorer.featurizer.matrix(payloads[:1]), scorer.featurizer.matrix(payloads)
    codes = scorer.binner.codes_of_row(scorer.featurizer.row(EXAMPLE_ATTENDEE))
    whole = microseconds(lambda: scorer.score_one(EXAMPLE_ATTENDEE), 100)
    inside = microseconds(lambda: scorer.form.log_odds_of_row(codes), 100)
    batch = microseconds(lambda: scorer.score(payloads), 3)
    explanation = microseconds(lambda: scorer.explain_one(EXAMPLE_ATTENDEE), 20)
    with threadpool_limits(limits=1):
        sklearn_one = microseconds(lambda: estimator.predict_proba(one), 3)
        sklearn_batch = microseconds(lambda: estimator.predict_proba(many), 3)
    difference = np.abs(estimator.predict_proba(many)[:, 1] - scorer.score_matrix(many)).max()
    print(f"{model.model_type}, largest difference from scikit-learn {difference:.1e}")
    print(f"  one row       {whole:9.1f} us   (model alone {inside:.1f} us)")
    print(f"  scikit-learn  {sklearn_one:9.1f} us   {sklearn_one / whole:.0f} times as long")
    print(f"  {BATCH} rows      {batch:9.1f} us   ({batch / BATCH:.1f} us a row)")
    print(f"  scikit-learn  {sklearn_batch:9.1f} us   {sklearn_batch / batch:.1f} times as long")
    print(f"  explanation   {explanation:9.1f} us")


def start(model: TrainedModel) -> None:
    """Fresh processes: the exported form alone, and the nested scikit-learn estimator."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "attendance.joblib"
        sha256 = save_artifact(model.artifact, path)
        load_artifact(path, sha256)
        print(f"artifact {path.stat().st_size / 1e6:.1f} MB; medians of {STARTS} fresh processes")
        ours = _start(path, sha256, "", "load_artifact", False)
        theirs = _start(path, sha256, "import ml.ensemble", "load_estimator", True)
    print(f"  exported form  {ours[0]:5.2f} s   {ours[1]:6.1f} MB")
    print(
        f"  scikit-learn   {theirs[0]:5.2f} s   {theirs[1]:6.1f} MB   "
        f"{theirs[0] / ours[0]:.1f} times as long, {theirs[1] - ours[1]:.0f} MB more"
    )


def _start(path: Path, sha256: str, imports: str, load: str, sklearn: bool) -> tuple[float, float]:
    program = START.format(
        imports=imports, load=load, path=str(path), sha256=sha256, sklearn=sklearn
    )
    figures = []
    for _ in range(STARTS):
        output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        figures.append([float(word) for word in output.stdout.split()])
    seconds, megabytes = (median(values) for values in zip(*figures, strict=True))
    return seconds, megabytes


def main() -> None:
    model = train_attendance(seed=0)
    speed(model)
    table = generate(20_000, 0).table
    speed(train(table, ATTENDANCE_SPEC, key="attendance", families=[LogisticSplines()]))
    start(model)


if __name__ == "__main__":
    main()
