"""From a payload to the numbers a model sees: one way for training, prediction and what-if.

A model's columns are its modelled features in the order of the specification, whatever the
order of the payload's keys. A column is one float a row; NaN says missing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.features import Feature, FeatureType, Format, Spec

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]
Vocabularies = Mapping[str, tuple[str, ...]]

MAX_VOCABULARY = 200
RARE_BELOW = 20
"""A string seen less often in training says nothing reliable: all of these share one code."""

MAX_DIGITS = 9
DISPOSABLE = 10.0
DISPOSABLE_DOMAINS = frozenset(
    """10minutemail.com dispostable.com fakeinbox.com getnada.com guerrillamail.com mailinator.com
    maildrop.cc mohmal.com sharklasers.com temp-mail.org throwawaymail.com trashmail.com
    yopmail.com""".split()  # noqa: SIM905 - a list this long is read as text
)

_MISSING = float("nan")
Encoder = Callable[[Any], float]


class Featurizer:
    """Numbers for the modelled features of `spec`; strings by code.

    A string with choices has its place among them. A free string has its place in its
    vocabulary (learned in training), or the code after the last when it is not there. An e-mail
    address is reduced to email_pattern.
    """

    def __init__(self, spec: Spec, vocabularies: Vocabularies | None = None) -> None:
        self.spec = spec
        self.vocabularies = dict(vocabularies or {})
        self.features: Spec = tuple(feature for feature in spec if feature.modelled)
        self._encoders = [
            (feature.name, self._encoder(feature), feature.default) for feature in self.features
        ]

    def row(self, payload: Mapping[str, Any]) -> list[float]:
        """One row as a list: what the single-row path uses, no array is made."""
        numbers = []
        for name, encode, default in self._encoders:
            value = payload.get(name)
            if value is None:
                value = default
            numbers.append(_MISSING if value is None else encode(value))
        return numbers

    def vector(self, payload: Mapping[str, Any]) -> Floats:
        """Shape (features,)."""
        return np.array(self.row(payload), dtype=np.float64)

    def matrix(self, payloads: Sequence[Mapping[str, Any]]) -> Floats:
        """Shape (payloads, features)."""
        rows = [self.row(payload) for payload in payloads]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.features))

    def matrix_of_columns(self, columns: Columns) -> Floats:
        """Shape (rows, features), from a table's columns: float arrays with NaN for missing, or
        object arrays with None. Raises KeyError for a modelled feature without column.
        """
        encoded = [
            _encode_column(columns[name], encode, default)
            for name, encode, default in self._encoders
        ]
        return np.column_stack(encoded)

    def _encoder(self, feature: Feature) -> Encoder:
        if feature.type is not FeatureType.STRING:
            return float
        if feature.format is Format.EMAIL:
            return email_pattern
        words = feature.choices or self.vocabularies.get(feature.name, ())
        codes = {word: float(code) for code, word in enumerate(words)}
        other = _MISSING if feature.choices else float(len(words))
        return lambda value: codes.get(value, other)


def to_feature_vector(
    payload: Mapping[str, Any], spec: Spec, vocabularies: Vocabularies | None = None
) -> Floats:
    """The vector of one payload, shape (modelled features,). A Featurizer kept does it faster."""
    return Featurizer(spec, vocabularies).vector(payload)


def is_categorical(feature: Feature) -> bool:
    """Whether the feature's numbers are codes without order."""
    return feature.type is FeatureType.STRING and feature.format is not Format.EMAIL


def email_pattern(address: str) -> float:
    """Digits before the @ (at most 9), plus 10 where the domain hands out throw-away addresses.

    The rest of an address is a person's name, and a name must not decide.
    """
    local, _, domain = address.rpartition("@")
    digits = min(sum(character.isdigit() for character in local), MAX_DIGITS)
    return digits + (DISPOSABLE if domain.lower() in DISPOSABLE_DOMAINS else 0.0)


def learn_vocabularies(spec: Spec, columns: Columns) -> dict[str, tuple[str, ...]]:
    """The words of every free string feature, most frequent first (then by name)."""
    return {
        feature.name: _frequent_words(columns[feature.name])
        for feature in spec
        if feature.modelled and is_categorical(feature) and not feature.choices
    }


def _frequent_words(column: NDArray[Any]) -> tuple[str, ...]:
    words, counts = np.unique([word for word in column if word is not None], return_counts=True)
    ranked = sorted(zip(-counts, words, strict=True))
    return tuple(str(word) for count, word in ranked[:MAX_VOCABULARY] if -count >= RARE_BELOW)


def _encode_column(column: NDArray[Any], encode: Encoder, default: Any) -> Floats:
    fill = _MISSING if default is None else encode(default)
    if column.dtype != object:
        numbers = column.astype(np.float64)
        return numbers if np.isnan(fill) else np.where(np.isnan(numbers), fill, numbers)
    return np.array([fill if value is None else encode(value) for value in column], np.float64)
