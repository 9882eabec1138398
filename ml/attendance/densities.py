"""The distributions that the attendance generator draws from, each with its log density.

A parameter has one value for each latent type: `draw` takes the types of the rows, shape (rows,),
and gives a value a row; `log_density` takes values and gives shape (rows, types).
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ml.featurizer import Floats
from ml.metrics import Targets

Parameter = tuple[float, ...]

# A beta density may be infinite at 0 and 1; a share this near to an end does not occur.
_EDGE = 1e-6
_log_gamma = np.frompyfunc(math.lgamma, 1, 1)


class Density(Protocol):
    def draw(self, types: Targets, rng: np.random.Generator) -> Floats: ...
    def log_density(self, values: Floats) -> Floats: ...


@dataclass(frozen=True)
class NegativeBinomial:
    """Counts: a Poisson whose rate differs from person to person by a gamma of this shape."""

    mean: Parameter
    shape: Parameter

    def draw(self, types: Targets, rng: np.random.Generator) -> Floats:
        mean, shape = np.array(self.mean)[types], np.array(self.shape)[types]
        return rng.poisson(rng.gamma(shape, mean / shape)).astype(np.float64)

    def log_density(self, values: Floats) -> Floats:
        counts, places = np.unique(values, return_inverse=True)
        k = counts[:, None]
        mean, shape = np.array(self.mean), np.array(self.shape)
        share = shape / (shape + mean)
        result = shape * np.log(share) + k * np.log1p(-share)
        result += lgamma(k + shape) - lgamma(shape) - lgamma(k + 1)
        by_row: Floats = result[places]
        return by_row


@dataclass(frozen=True)
class Gamma:
    """Amounts above `start`."""

    shape: Parameter
    scale: Parameter
    start: float = 0.0

    def draw(self, types: Targets, rng: np.random.Generator) -> Floats:
        shape, scale = np.array(self.shape)[types], np.array(self.scale)[types]
        return self.start + np.maximum(rng.gamma(shape, scale), _EDGE)

    def log_density(self, values: Floats) -> Floats:
        amount = np.maximum(values - self.start, _EDGE)[:, None]
        shape, scale = np.array(self.shape), np.array(self.scale)
        result: Floats = (shape - 1) * np.log(amount) - amount / scale
        result -= lgamma(shape) + shape * np.log(scale)
        return result


@dataclass(frozen=True)
class ZeroInflatedBeta:
    """Shares between 0 and 1, exactly 0 with probability `zero`."""

    zero: Parameter
    a: Parameter
    b: Parameter

    def draw(self, types: Targets, rng: np.random.Generator) -> Floats:
        zero, a, b = (np.array(value)[types] for value in (self.zero, self.a, self.b))
        shares = np.clip(rng.beta(a, b), _EDGE, 1 - _EDGE)
        return np.where(rng.random(len(types)) < zero, 0.0, shares)

    def log_density(self, values: Floats) -> Floats:
        share = np.clip(values, _EDGE, 1 - _EDGE)[:, None]
        a, b = np.array(self.a), np.array(self.b)
        some = (a - 1) * np.log(share) + (b - 1) * np.log1p(-share)
        some += lgamma(a + b) - lgamma(a) - lgamma(b) + np.log1p(-np.array(self.zero))
        # a density without zeros gives a zero the value at its lower end
        none = np.where(np.array(self.zero) > 0, np.log(np.maximum(self.zero, _EDGE)), some)
        return np.where(values[:, None] == 0, none, some)


@dataclass(frozen=True)
class Bernoulli:
    """1 with this probability, else 0."""

    one: Parameter

    def draw(self, types: Targets, rng: np.random.Generator) -> Floats:
        return (rng.random(len(types)) < np.array(self.one)[types]).astype(np.float64)

    def log_density(self, values: Floats) -> Floats:
        one = np.array(self.one)
        result: Floats = np.where(values[:, None] == 1, np.log(one), np.log1p(-one))
        return result


def lgamma(values: Floats) -> Floats:
    return np.asarray(_log_gamma(values), dtype=np.float64)
