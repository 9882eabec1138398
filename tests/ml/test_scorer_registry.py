"""The scorers of a serving process (checklist Q48, U12, U65, U66, X13)."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ml.registry import ModelRegistry
from ml.scoring import MockScorer, RiskLabel, Scorer, decide_risk, probabilities, probability
from tests.ml.made import PAYLOAD, SPLINES, TREES, make_model


def test_a_model_without_artifact_is_a_mock_that_says_a_half() -> None:
    scorer = ModelRegistry().scorer("attendance")
    assert scorer.is_mock
    assert scorer.version == "mock"
    assert scorer.score_one(PAYLOAD) == 0.5
    assert scorer.score([PAYLOAD] * 3).tolist() == [0.5] * 3
    assert scorer.explain_one(PAYLOAD) == []


def test_an_installed_model_answers_under_its_version() -> None:
    models = ModelRegistry()
    models.install("made", "v3", make_model().scorer)
    scorer = models.scorer("made")
    assert (scorer.version, scorer.is_mock) == ("v3", False)
    assert scorer.score_one(PAYLOAD) == make_model().scorer.score_one(PAYLOAD)
    assert models.keys() == {"made"}
    assert models.versions() == {"made": "v3"}


def test_removing_a_model_mocks_that_model_alone() -> None:
    models = ModelRegistry()
    models.install("one", "v1", make_model().scorer)
    models.install("other", "v1", make_model().scorer)
    models.remove("one")
    models.remove("never there")
    assert models.scorer("one").is_mock
    assert not models.scorer("other").is_mock


def test_a_request_keeps_the_scorer_it_took() -> None:
    models = ModelRegistry()
    models.install("made", "v1", make_model(TREES).scorer)
    taken = models.scorer("made")
    models.install("made", "v2", make_model(SPLINES).scorer)
    assert taken.version == "v1"
    assert taken.score_one(PAYLOAD) == make_model(TREES).scorer.score_one(PAYLOAD)
    assert models.scorer("made").version == "v2"


def test_no_reader_ever_sees_a_half_made_change() -> None:
    models = ModelRegistry()
    models.install("made", "v1", make_model().scorer)
    seen_by_a_reader = models._scorers
    models.install("made", "v2", make_model().scorer)
    models.remove("made")
    assert seen_by_a_reader["made"].version == "v1"


@pytest.fixture
def threads_that_interrupt_each_other() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_version_and_answer_belong_together_while_models_are_exchanged(
    threads_that_interrupt_each_other: None,
) -> None:
    models = ModelRegistry()
    by_version: dict[str, Scorer] = {
        "v1": make_model(TREES).scorer,
        "v2": make_model(SPLINES).scorer,
    }
    expected = {version: scorer.score_one(PAYLOAD) for version, scorer in by_version.items()}
    models.install("made", "v1", by_version["v1"])

    def exchange() -> None:
        for number in range(400):
            version = f"v{number % 2 + 1}"
            models.install("made", version, by_version[version])

    def read() -> bool:
        scorers = [models.scorer("made") for _ in range(400)]
        return all(scorer.score_one(PAYLOAD) == expected[scorer.version] for scorer in scorers)

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(exchange) for _ in range(2)]
        readers = [pool.submit(read) for _ in range(2)]
        assert all(reader.result() for reader in readers)
        for writer in writers:
            writer.result()


def test_models_installed_at_once_are_all_there(threads_that_interrupt_each_other: None) -> None:
    models = ModelRegistry()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: models.install(str(n), "v1", MockScorer()), range(2_000)))
    assert len(models.keys()) == 2_000


@pytest.mark.parametrize("attendance", [0.0, 0.07, 0.5, 0.93, 1.0, 1 / 3])
def test_both_probabilities_sum_to_one(attendance: float) -> None:
    decision = decide_risk(attendance)
    total = decision.attendance_probability + decision.reseller_probability
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("attendance", "threshold", "label"),
    [
        (0.93, 0.5, RiskLabel.ATTENDEE),
        (0.51, 0.5, RiskLabel.ATTENDEE),
        (0.5, 0.5, RiskLabel.RESELLER),
        (0.4, 0.5, RiskLabel.RESELLER),
        (0.4, 0.7, RiskLabel.ATTENDEE),
        (0.93, 0.05, RiskLabel.RESELLER),
        (1.0, 0.0, RiskLabel.RESELLER),
        (0.0, 1.0, RiskLabel.RESELLER),
    ],
)
def test_a_reseller_is_one_from_the_threshold_on(
    attendance: float, threshold: float, label: RiskLabel
) -> None:
    assert decide_risk(attendance, threshold).label is label


@pytest.mark.parametrize("values", [(-0.1, 0.5), (1.1, 0.5), (float("nan"), 0.5), (0.5, 2.0)])
def test_what_is_no_probability_is_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        decide_risk(*values)


def test_log_odds_of_any_size_become_a_probability() -> None:
    log_odds = np.array([-1e4, -700.0, -1.0, 0.0, 1.0, 700.0, 1e4])
    one_by_one = [probability(float(value)) for value in log_odds]
    np.testing.assert_allclose(probabilities(log_odds), one_by_one, rtol=1e-14)
    assert one_by_one[3] == 0.5
    assert one_by_one[0] == 0.0
    assert one_by_one[-1] == 1.0
