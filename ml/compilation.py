"""From a trained ensemble to its exported form. Exact: the same numbers, another layout."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.ensemble import CalibratedEnsemble
from ml.families import Design, SplinesMember, TreesMember
from ml.forms import Forest, Form, Tables

Allowed = NDArray[np.bool_]


def compile_ensemble(ensemble: CalibratedEnsemble, design: Design) -> Form:
    """Raises TypeError for members of a family that has no exported form."""
    members = list(ensemble.members)
    weight = ensemble.slope / len(members)
    if all(isinstance(member, SplinesMember) for member in members):
        return _tables(members, weight, ensemble.intercept, design)
    if all(isinstance(member, TreesMember) for member in members):
        return _forest(members, weight, ensemble.intercept, design)
    raise TypeError(f"no exported form for {type(members[0]).__name__}")


def _tables(members: list[Any], weight: float, intercept: float, design: Design) -> Tables:
    values = np.zeros(sum(design.binner.sizes))
    for member in members:
        coefficients = np.split(
            member.model.coef_[0], np.cumsum([block.shape[1] for block in member.blocks])[:-1]
        )
        parts = zip(member.blocks, coefficients, strict=True)
        values += weight * np.concatenate([block @ part for block, part in parts])
        intercept += weight * float(member.model.intercept_[0])
    return Tables(intercept, design.binner.sizes, values, design.shares)


@dataclass(frozen=True)
class _Leaf:
    value: float
    allowed: dict[int, Allowed]
    """By feature that the path asks for: which of its bins lead here."""


def _forest(members: list[Any], weight: float, intercept: float, design: Design) -> Forest:
    sizes = design.binner.sizes
    leaves: list[_Leaf] = []
    for member in members:
        intercept += weight * float(member.model._baseline_prediction.ravel()[0])  # noqa: SLF001
        reader = _TreeReader(member.model, sizes)
        for (tree,) in member.model._predictors:  # noqa: SLF001 - the trees have no public door
            leaves.extend(reader.leaves(tree))
    padded = -(-len(leaves) // 8) * 8
    values = np.zeros(padded)
    values[: len(leaves)] = [weight * leaf.value for leaf in leaves]
    masks = [
        np.packbits(_allowed(leaves, feature, size, padded), axis=1)
        for feature, size in enumerate(sizes)
    ]
    return Forest(intercept, sizes, np.vstack(masks), values, design.shares)


def _allowed(leaves: list[_Leaf], feature: int, size: int, padded: int) -> Allowed:
    """Shape (bins, leaves). Padding is allowed everywhere and worth nothing."""
    allowed = np.ones((padded, size), dtype=np.bool_)
    for number, leaf in enumerate(leaves):
        if (bins := leaf.allowed.get(feature)) is not None:
            allowed[number] = bins
    return allowed.T


class _TreeReader:
    """Reads trees of a HistGradientBoostingClassifier trained on bin numbers.

    With categorical features the estimator puts these first and numbers each one's categories
    anew in every fit; a category it has not seen goes where missing goes.
    """

    def __init__(self, model: Any, sizes: list[int]) -> None:
        self._sizes = sizes
        categorical = np.array(model.is_categorical_) if model.is_categorical_ is not None else None
        self._columns = list(range(len(sizes)))
        self._places: dict[int, dict[int, int]] = {}
        if categorical is None or not categorical.any():
            return
        coded = np.flatnonzero(categorical).tolist()
        self._columns = coded + np.flatnonzero(~categorical).tolist()
        encoder = model._preprocessor.named_transformers_["encoder"]  # noqa: SLF001
        for feature, categories in zip(coded, encoder.categories_, strict=True):
            known = [int(code) for code in categories if not np.isnan(code)]
            self._places[feature] = {code: place for place, code in enumerate(known)}

    def leaves(self, tree: Any) -> Iterator[_Leaf]:
        pending: list[tuple[int, dict[int, Allowed]]] = [(0, {})]
        while pending:
            number, path = pending.pop()
            node = tree.nodes[number]
            if node["is_leaf"]:
                yield _Leaf(float(node["value"]), path)
                continue
            feature = self._columns[node["feature_idx"]]
            goes_left = self._goes_left(tree, node, feature)
            earlier = path.get(feature, np.ones_like(goes_left))
            pending.append((int(node["left"]), {**path, feature: earlier & goes_left}))
            pending.append((int(node["right"]), {**path, feature: earlier & ~goes_left}))

    def _goes_left(self, tree: Any, node: Any, feature: int) -> Allowed:
        """For every bin of the feature, the one for missing last."""
        bins = np.arange(self._sizes[feature])
        missing_left = bool(node["missing_go_to_left"])
        if node["is_categorical"]:
            words = tree.raw_left_cat_bitsets[node["bitset_idx"]]
            goes_left = np.full(len(bins), missing_left)
            for code, place in self._places[feature].items():
                goes_left[code] = bool(words[place // 32] >> np.uint32(place % 32) & np.uint32(1))
        else:
            goes_left = bins <= node["num_threshold"]
        goes_left[-1] = missing_left
        return goes_left
