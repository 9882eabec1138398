"""The generator, and that its posterior really is the best answer."""

import math
import time
from typing import Any

import numpy as np
import pytest

from ml.attendance.densities import Bernoulli, Density, Gamma, NegativeBinomial, ZeroInflatedBeta
from ml.attendance.generator import DENSITIES, PRIOR, TYPES, generate, posterior, type_posterior
from ml.attendance.identities import email_features
from ml.attendance.spec import ATTENDANCE_SPEC, EXAMPLE_ATTENDEE
from ml.features import check_features
from ml.metrics import expected_calibration_error, measure, roc_auc

ROWS = 60_000


def test_generated_rows_pass_the_specification() -> None:
    columns = generate(500, 0).table.columns
    assert list(columns) == [f.name for f in ATTENDANCE_SPEC]
    for row in zip(*(column.tolist() for column in columns.values()), strict=True):
        assert check_features(ATTENDANCE_SPEC, dict(zip(columns, row, strict=True))) == []


def test_the_same_seed_gives_the_same_rows() -> None:
    first, again, other = (generate(300, seed).table for seed in (5, 5, 6))
    for name, column in first.columns.items():
        assert column.tolist() == again.columns[name].tolist()
    assert first.target.tolist() == again.target.tolist()
    assert first.target.tolist() != other.target.tolist()


@pytest.mark.slow
def test_two_hundred_thousand_rows_take_seconds() -> None:
    started = time.perf_counter()
    posterior(generate(200_000, 0).table.columns)
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    "name", [n for n, d in DENSITIES.items() if isinstance(d, NegativeBinomial)]
)
def test_a_count_density_sums_to_one_and_has_its_mean(name: str) -> None:
    density = DENSITIES[name]
    assert isinstance(density, NegativeBinomial)
    counts = np.arange(0.0, 40_000.0)
    chances = np.exp(density.log_density(counts))
    np.testing.assert_allclose(chances.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(counts @ chances, density.mean, rtol=1e-3)


@pytest.mark.parametrize("name", [n for n, d in DENSITIES.items() if isinstance(d, Gamma)])
def test_an_amount_density_integrates_to_one(name: str) -> None:
    density = DENSITIES[name]
    assert isinstance(density, Gamma)
    # substituting amount = exp(u) tames the end near zero
    u = np.linspace(-30, 10, 200_001)
    chances = np.exp(density.log_density(density.start + np.exp(u)) + u[:, None])
    # below the smallest amount the density is kept constant: a few parts in a million
    np.testing.assert_allclose(np.trapezoid(chances, u, axis=0), 1, atol=1e-4)


@pytest.mark.parametrize(
    "name", [n for n, d in DENSITIES.items() if isinstance(d, ZeroInflatedBeta)]
)
def test_a_share_density_integrates_to_one_with_its_zeros(name: str) -> None:
    density = DENSITIES[name]
    shares = np.linspace(1e-6, 1 - 1e-6, 400_001)
    inside = np.trapezoid(np.exp(density.log_density(shares)), shares, axis=0)
    assert isinstance(density, ZeroInflatedBeta)
    np.testing.assert_allclose(inside + np.array(density.zero), 1, atol=1e-3)


@pytest.mark.parametrize(
    "density",
    [
        NegativeBinomial((1.5,), (0.7,)),
        Gamma((2.0,), (3.0,), start=1.0),
        ZeroInflatedBeta((0.3,), (1.5,), (6.0,)),
        Bernoulli((0.2,)),
    ],
)
def test_what_is_drawn_follows_the_density(density: Density) -> None:
    draws = density.draw(np.zeros(ROWS, dtype=np.int64), np.random.default_rng(0))
    # E[log density] by the draws themselves and by importance from a neighbour: for a density
    # f and any g, E_f[g / f] = 1 where g lives on f's support
    neighbour: Any = {
        NegativeBinomial: NegativeBinomial((1.2,), (0.7,)),
        Gamma: Gamma((2.0,), (2.6,), start=1.0),
        ZeroInflatedBeta: ZeroInflatedBeta((0.4,), (1.6,), (6.5,)),
        Bernoulli: Bernoulli((0.4,)),
    }[type(density)]
    ratio = np.exp(neighbour.log_density(draws) - density.log_density(draws))
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() > 0.1  # the neighbour is another density: the line above can fail


def test_the_posterior_of_a_type_is_its_share_among_like_rows() -> None:
    generated = generate(ROWS, 1)
    shares = type_posterior(generated.table.columns)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-12)
    for number, name in enumerate(TYPES):
        real = (generated.types == number).astype(np.int64)
        assert expected_calibration_error(real, shares[:, number]) < 0.01, name
        assert real.mean() == pytest.approx(PRIOR[number], abs=0.01)


def test_the_posterior_of_attendance_is_calibrated_everywhere() -> None:
    table = generate(ROWS, 2).table
    best = posterior(table.columns)
    measured = measure(table.target, best)
    assert measured.ece < 0.01
    # the log loss of a calibrated forecast is its own entropy
    entropy = -(best * np.log(best) + (1 - best) * np.log1p(-best)).mean()
    assert measured.log_loss == pytest.approx(float(entropy), abs=0.006)


def test_no_change_of_the_posterior_does_better() -> None:
    table = generate(ROWS, 3).table
    best = posterior(table.columns)
    log_odds = np.log(best / (1 - best))
    rate = np.asarray(table.columns["attendance_rate"]) - 0.7
    base = measure(table.target, best).log_loss
    for changed in (0.85 * log_odds, 1.15 * log_odds, log_odds + 0.2, log_odds + 0.8 * rate):
        assert measure(table.target, 1 / (1 + np.exp(-changed))).log_loss > base


def test_the_problem_is_hard_and_not_hopeless() -> None:
    table = generate(ROWS, 4).table
    auc = roc_auc(table.target, posterior(table.columns))
    assert auc is not None
    assert 0.90 < auc < 0.96


def test_age_and_origin_carry_no_information() -> None:
    generated = generate(ROWS, 5)
    columns, reseller = generated.table.columns, generated.types >= 2
    ages = columns["age"]
    error = math.sqrt(ages.var() / reseller.sum() * 2)
    assert abs(ages[reseller].mean() - ages[~reseller].mean()) < 4 * error
    for place in ("CL", "BR"):
        shares = [(columns["country"][group] == place).mean() for group in (reseller, ~reseller)]
        assert shares[0] == pytest.approx(shares[1], abs=0.02)
    moved = {**columns, "age": ages[::-1], "city": columns["city"][::-1]}
    assert posterior(moved).tolist() == posterior(columns).tolist()


def test_addresses_say_what_was_drawn() -> None:
    emails = np.array(
        ["ana.diaz@gmail.com", "ana.diaz12@yopmail.com", "a1b2@mailinator.com"], dtype=object
    )
    digits, disposable = email_features(emails)
    assert digits.tolist() == [0, 2, 2]
    assert disposable.tolist() == [0, 1, 1]


def test_who_bought_nothing_has_no_tickets_an_order() -> None:
    columns = generate(5_000, 6).table.columns
    none = columns["purchases_last_12_months"] == 0
    assert none.any()
    assert (columns["tickets_per_order_avg"][none] == 0).all()
    assert (columns["tickets_per_order_avg"][~none] > 1).all()


def test_without_orders_the_tickets_an_order_tell_nothing() -> None:
    generated = generate(ROWS, 7)
    none = generated.table.columns["purchases_last_12_months"] == 0
    columns = {name: column[none] for name, column in generated.table.columns.items()}
    shares = type_posterior(columns).mean(axis=0)
    real = np.bincount(generated.types[none], minlength=len(TYPES)) / none.sum()
    np.testing.assert_allclose(shares, real, atol=0.01)


def test_the_example_of_the_source_is_most_probably_an_attendee() -> None:
    row = {
        name: np.array([value], dtype=object if isinstance(value, str) else np.float64)
        for name, value in EXAMPLE_ATTENDEE.items()
    }
    assert 0.9 < posterior(row)[0] < 1
