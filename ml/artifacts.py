"""The file of a trained model.

An artifact is a joblib file that holds a plain dictionary: numbers, strings and numpy arrays for
serving, and the scikit-learn estimator as nested bytes that serving never unpickles. A pickle is
code, so the hash of the whole file is checked before any of it is read as one.
"""

import hashlib
import io
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from ml.binning import Binner
from ml.features import InvalidSpec, Spec
from ml.featurizer import Featurizer
from ml.forms import form_of
from ml.scoring import TrainedScorer
from ml.spec_json import from_json, to_json

FORMAT = "auspex-model"
FORMAT_VERSION = 1
_COMPRESSION = 3


class ArtifactError(Exception):
    """An artifact that cannot serve; `path` is its file."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class ArtifactMissing(ArtifactError):
    """There is no such file, or it cannot be read."""


class ArtifactCorrupt(ArtifactError):
    """The file's hash differs from the registry's, or its content is not a model of ours."""


@dataclass(frozen=True)
class Artifact:
    """All that is known of a trained model, as plain values."""

    key: str
    model_type: str
    spec: Spec
    scorer: TrainedScorer
    estimator: bytes
    metrics: dict[str, Any]
    libraries: dict[str, str]
    rows: int
    seed: int


def save_artifact(artifact: Artifact, path: Path) -> str:
    """Writes the artifact and gives its sha256.

    The file appears whole or not at all: a failure leaves the one that was there. Raises OSError.
    """
    buffer = io.BytesIO()
    joblib.dump(_contents(artifact), buffer, compress=_COMPRESSION)
    content = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def load_artifact(path: Path, expected_sha256: str) -> TrainedScorer:
    """The scorer in the file. Raises ArtifactMissing and ArtifactCorrupt."""
    return read_artifact(path, expected_sha256).scorer


def read_artifact(path: Path, expected_sha256: str) -> Artifact:
    """The whole artifact. Raises ArtifactMissing and ArtifactCorrupt."""
    contents = joblib_contents(_checked_bytes(path, expected_sha256), path)
    try:
        return _artifact(contents)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, InvalidSpec) as error:
        raise ArtifactCorrupt(f"{path.name} is not a model of ours: {error!r}", path) from error


def load_estimator(path: Path, expected_sha256: str) -> Any:
    """The scikit-learn estimator in the file. Raises ArtifactMissing and ArtifactCorrupt."""
    return joblib_contents(read_artifact(path, expected_sha256).estimator, path)


def dump_estimator(estimator: object) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()


def joblib_contents(content: bytes, path: Path) -> Any:
    """Unpickles bytes whose hash was checked. Raises ArtifactCorrupt."""
    try:
        return joblib.load(io.BytesIO(content))
    except Exception as error:
        # a pickle that was made by other versions of its libraries fails in any way it likes
        raise ArtifactCorrupt(f"{path.name} cannot be read: {error!r}", path) from error


def _checked_bytes(path: Path, expected_sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactMissing(f"{path.name}: {error.strerror or 'cannot be read'}", path) from error
    if not secrets.compare_digest(hashlib.sha256(content).hexdigest(), expected_sha256.lower()):
        raise ArtifactCorrupt(f"{path.name} has another hash than the registry's", path)
    return content


def _write_whole(path: Path, content: bytes) -> None:
    # in the same folder: a rename is atomic inside one file system only
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _contents(artifact: Artifact) -> dict[str, Any]:
    scorer = artifact.scorer
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "key": artifact.key,
        "model_type": artifact.model_type,
        "spec": to_json(artifact.spec),
        "vocabularies": dict(scorer.featurizer.vocabularies),
        "edges": list(scorer.binner.edges),
        "categories": list(scorer.binner.categories),
        "form": scorer.form.arrays(),
        "estimator": artifact.estimator,
        "metrics": artifact.metrics,
        "libraries": artifact.libraries,
        "rows": artifact.rows,
        "seed": artifact.seed,
    }


def _artifact(contents: Any) -> Artifact:
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise ValueError("another kind of file")
    if contents["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"format {contents['format_version']}, this program reads {FORMAT_VERSION}"
        )
    spec = from_json(contents["spec"])
    featurizer = Featurizer(spec, contents["vocabularies"])
    binner = Binner(tuple(contents["edges"]), tuple(contents["categories"]))
    form = form_of(contents["form"])
    if len(binner.edges) != len(featurizer.features) or contents["form"]["sizes"] != binner.sizes:
        raise ValueError("its parts do not fit together")
    return Artifact(
        key=contents["key"],
        model_type=contents["model_type"],
        spec=spec,
        scorer=TrainedScorer(featurizer, binner, form, contents["model_type"]),
        estimator=contents["estimator"],
        metrics=contents["metrics"],
        libraries=contents["libraries"],
        rows=contents["rows"],
        seed=contents["seed"],
    )
