"""Artifacts: whole or absent, and loaded by hash only (checklist Q4, Q20, U12, U65)."""

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest

from ml.artifacts import (
    ArtifactCorrupt,
    ArtifactError,
    ArtifactMissing,
    load_artifact,
    load_estimator,
    read_artifact,
    save_artifact,
)
from tests.ml.made import PAYLOAD, SPEC, SPLINES, TREES, make_model, make_table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models" / "made.joblib"


def save_bytes(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def save_contents(path: Path, contents: Any) -> str:
    buffer = io.BytesIO()
    joblib.dump(contents, buffer)
    return save_bytes(path, buffer.getvalue())


class Bomb:
    """Unpickling it creates a file: what a stranger's artifact would do."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("family", [TREES, SPLINES], ids=["trees", "splines"])
def test_what_is_loaded_scores_and_explains_as_what_was_saved(path: Path, family: Any) -> None:
    model = make_model(family)
    sha256 = save_artifact(model.artifact, path)
    loaded = load_artifact(path, sha256)
    columns = make_table(500, seed=6).columns
    expected = model.scorer.score_columns(columns)
    assert loaded.score_columns(columns).tolist() == expected.tolist()
    assert loaded.explain_one(PAYLOAD) == model.scorer.explain_one(PAYLOAD)
    assert (loaded.base_value, loaded.spec) == (model.scorer.base_value, SPEC)
    assert not loaded.is_mock


def test_the_hash_is_that_of_the_file(path: Path) -> None:
    sha256 = save_artifact(make_model().artifact, path)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_artifact_tells_what_it_is(path: Path) -> None:
    artifact = make_model().artifact
    read = read_artifact(path, save_artifact(artifact, path))
    told = ("key", "model_type", "spec", "metrics", "libraries", "rows", "seed", "estimator")
    assert all(getattr(read, name) == getattr(artifact, name) for name in told)


def test_the_estimator_inside_is_the_scikit_learn_one(path: Path) -> None:
    model = make_model()
    estimator = load_estimator(path, save_artifact(model.artifact, path))
    matrix = model.scorer.featurizer.matrix([PAYLOAD])
    assert estimator.predict_proba(matrix)[0, 1] == pytest.approx(model.scorer.score_one(PAYLOAD))
    assert estimator.predict(matrix).tolist() == [int(model.scorer.score_one(PAYLOAD) >= 0.5)]


def test_a_missing_file_is_missing(path: Path) -> None:
    with pytest.raises(ArtifactMissing) as caught:
        load_artifact(path, "0" * 64)
    assert caught.value.path == path


def test_a_folder_in_its_place_is_missing(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ArtifactMissing):
        load_artifact(path, "0" * 64)


def test_a_file_with_one_changed_byte_is_corrupt(path: Path) -> None:
    sha256 = save_artifact(make_model().artifact, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match="another hash"):
        load_artifact(path, sha256)


def test_code_in_a_file_with_the_wrong_hash_never_runs(path: Path, tmp_path: Path) -> None:
    trace = tmp_path / "exploded"
    sha256 = save_bytes(path, pickle.dumps(Bomb(trace)))
    with pytest.raises(ArtifactCorrupt):
        load_artifact(path, "0" * 64)
    assert not trace.exists()
    # the same file does explode once its hash is trusted: the test above can fail
    with pytest.raises(ArtifactError):
        load_artifact(path, sha256)
    assert trace.exists()


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda contents: {key: value for key, value in contents.items() if key != name}


def with_value(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda contents: {**contents, **values}


def part_of_the_form(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda contents: {**contents, "form": {**contents["form"], **values}}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda contents: [],
        lambda contents: "a model",
        without("format"),
        without("form"),
        without("spec"),
        with_value(format="another"),
        with_value(format_version=2),
        with_value(spec=[]),
        with_value(spec=[{"name": "x", "type": "FLOAT"}]),
        with_value(edges=[]),
        with_value(form={"kind": "unknown"}),
        with_value(form=None),
        part_of_the_form(kind="tables"),
        part_of_the_form(sizes=[1, 2]),
        part_of_the_form(values=None),
    ],
)
def test_a_trusted_file_that_is_no_model_of_ours_is_corrupt(
    path: Path, spoil: Callable[[dict[str, Any]], Any]
) -> None:
    save_artifact(make_model().artifact, path)
    sha256 = save_contents(path, spoil(joblib.load(path)))
    with pytest.raises(ArtifactCorrupt):
        load_artifact(path, sha256)


@pytest.mark.parametrize("content", [b"", b"no pickle at all", b"\x80\x05."])
def test_a_trusted_file_that_cannot_be_read_is_corrupt(path: Path, content: bytes) -> None:
    with pytest.raises(ArtifactCorrupt):
        load_artifact(path, save_bytes(path, content))


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_artifact_and_no_rubbish(
    path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    sha256 = save_artifact(make_model(SPLINES).artifact, path)

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if broken == "fsync" else Path, broken, fail)
        with pytest.raises(OSError, match="No space left"):
            save_artifact(make_model(TREES).artifact, path)
    assert load_artifact(path, sha256).model_type == "logistic_splines"
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - hidden files too


def test_a_save_replaces_the_file_whole(path: Path) -> None:
    save_artifact(make_model(SPLINES).artifact, path)
    sha256 = save_artifact(make_model(TREES).artifact, path)
    assert load_artifact(path, sha256).model_type == "boosted_trees"


def test_the_same_model_gives_the_same_file(path: Path, tmp_path: Path) -> None:
    first = save_artifact(make_model().artifact, path)
    assert first == save_artifact(make_model().artifact, tmp_path / "again.joblib")
