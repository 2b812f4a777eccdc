"""Numeric features as a network wants them: a transform fitted on training data, stored with the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from slicing.errors import SlicingError

TransformKind = Literal["standard", "quantile", "normal"]

_EDGE = 1e-3  # normal scores are those of ranks in [0.001, 0.999]: +-3.09
_ROWS = 1 << 16  # rows transformed together: bounds the memory of intermediate results


@dataclass(frozen=True)
class FeatureTransform:
    """Numeric features (N, d) to what the network reads, (N, d + m), m being the number of missingness indicators.

    ``standard`` subtracts the mean and divides by the standard deviation of the values present in training.
    ``quantile`` maps a value to its place among the training values, piecewise linear between up to 256 quantiles, onto
    [-1, 1], a value that several quantiles share to their middle, values beyond the training range to the ends;
    ``normal`` goes on to the normal deviate of that place (-3.09 to 3.09). A feature that was constant in training
    becomes 0. Everything is row by row and in fp32, so that training and serving get the same bits.

    A missing value (NaN) becomes 0, the middle, and an indicator column, one for each feature that had missing values
    in training and behind all features, becomes 1. A feature that was never missing in training is refused where it is
    missing later: the network has never seen what its absence means.

    Attributes:
        kind: ``standard``, ``quantile`` or ``normal``.
        names: of the d features, for errors.
        table: fp32, the fitted numbers: ``standard`` (2, d), mean and scale (0 for a constant feature); otherwise
            (Q, d), the quantiles, rising.
        missing: bool (d,), which features had missing values in training.
    """

    kind: TransformKind
    names: tuple[str, ...]
    table: Tensor
    missing: Tensor

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        kind: TransformKind = "quantile",
        *,
        names: Sequence[str] | None = None,
        quantiles: int = 256,
    ) -> "FeatureTransform":
        """Fit on training data.

        Args:
            features: (N, d) numbers, N at least 1, NaN where missing.
            kind: ``standard``, ``quantile`` or ``normal``.
            names: of the features; None numbers them.
            quantiles: the most quantiles a feature is described by, in [2, 4096].

        Raises:
            SlicingError: for an unknown kind, no rows, infinite values, or values that are no numbers.
        """
        if kind not in get_args(TransformKind):
            raise SlicingError(f"a feature transform must be one of {list(get_args(TransformKind))}, got {kind!r}")
        if not 2 <= quantiles <= 4096:
            raise SlicingError(f"quantiles must lie in [2, 4096], got {quantiles}; try 256")
        found = _as_fp32(features)
        named = tuple(names) if names is not None else tuple(f"feature {i}" for i in range(found.shape[1]))
        if len(named) != found.shape[1]:
            raise SlicingError(f"names must name each of {found.shape[1]} features, got {len(named)}")
        if len(found) == 0:
            raise SlicingError("a feature transform can't be fitted on no rows; check the training split")
        _check_finite(torch.isinf(found), found, named)
        missing = found.isnan().any(0)
        columns = [column[~np.isnan(column)].astype(np.float64) for column in found.numpy().T]
        if kind == "standard":
            rows = [np.array(_moments(column)) for column in columns]
        else:
            places = np.linspace(0.0, 1.0, min(quantiles, max(2, len(found))))
            rows = [np.quantile(column if len(column) else np.zeros(1), places) for column in columns]
        table = torch.from_numpy(np.array(rows, dtype=np.float32).reshape(len(named), -1).T.copy())
        return cls(kind, named, table, missing)

    @property
    def width(self) -> int:
        """Columns of the result, d + m."""
        return len(self.names) + int(self.missing.sum())

    def __call__(self, features: np.ndarray | Tensor) -> Tensor:
        """Transform.

        Args:
            features: (N, d) numbers, NaN where missing.

        Returns:
            fp32 (N, d + m).

        Raises:
            SlicingError: when the number of features differs, a value is infinite, or one is missing that never was.
        """
        x = _as_fp32(features)
        if x.shape[1] != len(self.names):
            raise SlicingError(f"the transform was fitted on {len(self.names)} features, got {x.shape[1]}")
        result = torch.empty(len(x), self.width)
        for at in range(0, len(x), _ROWS):
            self._transform(x[at : at + _ROWS], result[at : at + _ROWS])
        return result

    def tensors(self) -> dict[str, Tensor]:
        """What a model file stores of it as tensors; :meth:`description` is the rest."""
        return {"table": self.table, "missing": self.missing}

    def description(self) -> dict[str, Any]:
        """What a model file stores of it as JSON values."""
        return {"kind": self.kind, "names": list(self.names)}

    @classmethod
    def rebuild(cls, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> "FeatureTransform":
        """The inverse of :meth:`tensors` and :meth:`description`.

        Raises:
            SlicingError: when they do not fit together.
        """
        kind: Any = description.get("kind")
        names = description.get("names")
        table, missing = tensors.get("table"), tensors.get("missing")
        if kind not in get_args(TransformKind) or table is None or missing is None or not isinstance(names, list):
            raise SlicingError("the feature transform is incomplete; save the model again")
        d = len(names)
        shapes_fit = table.dim() == 2 and table.shape[1] == d and missing.shape == (d,) and len(table) >= 2
        if not (
            shapes_fit
            and all(isinstance(name, str) for name in names)
            and (table.dtype, missing.dtype) == (torch.float32, torch.bool)
            and bool(table.isfinite().all())
            and (len(table) == 2 if kind == "standard" else bool((table[1:] >= table[:-1]).all()))
        ):
            raise SlicingError("the feature transform's numbers do not fit together; save the model again")
        return cls(kind, tuple(names), table, missing)

    def _transform(self, x: Tensor, result: Tensor) -> None:
        _check_finite(torch.isinf(x), x, self.names)
        absent = x.isnan()
        if not bool(self.missing.all()):
            never = absent.any(0) & ~self.missing
            if bool(never.any()):
                name = self.names[int(never.nonzero()[0, 0])]
                raise SlicingError(
                    f"{name!r} is missing in a row, but never was in training: fill it in, or train with rows that "
                    "lack it"
                )
        d = len(self.names)
        values = self._standard(x) if self.kind == "standard" else self._quantile(x)
        result[:, :d] = values.masked_fill_(absent, 0.0)
        result[:, d:] = absent[:, self.missing]

    def _standard(self, x: Tensor) -> Tensor:
        return (x - self.table[0]) * self.table[1]

    def _quantile(self, x: Tensor) -> Tensor:
        places = torch.empty(x.shape[1], x.shape[0])
        for values, place, (knots, at) in zip(x.t().contiguous(), places, self._curves, strict=True):
            place.copy_(torch.from_numpy(np.interp(values.numpy(), knots, at)))
        if self.kind == "normal":
            return torch.special.ndtri(places.clamp_(_EDGE, 1.0 - _EDGE)).t()
        return places.mul_(2.0).sub_(1.0).t()

    @cached_property
    def _curves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each feature's place in training, in [0, 1], as points to interpolate between."""
        return [_curve(knots) for knots in self.table.t().numpy()]


def _curve(quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rising knots and the place at each, in [0, 1], for one feature's fp32 quantiles.

    A value that several quantiles share is a step: up to it the first one's place, at it the middle, past it the last
    one's. The step's two ends are the nearest fp32 numbers, so that nothing lies between.
    """
    values, first, count = np.unique(quantiles, return_index=True, return_counts=True)
    last = len(quantiles) - 1
    if len(values) == 1:
        return values.astype(np.float64), np.array([0.5])
    middle = (first + (count - 1) / 2) / last
    shared = values[count > 1]
    knots = np.concatenate([values, np.nextafter(shared, -np.inf), np.nextafter(shared, np.inf)])
    ends = np.concatenate([first[count > 1], (first + count - 1)[count > 1]]) / last
    places = np.concatenate([middle, ends])
    own = np.concatenate([np.ones(len(values), bool), ~np.isin(knots[len(values) :], values)])
    knots, places = knots[own], places[own]
    order = np.argsort(knots, kind="stable")
    return knots[order].astype(np.float64), places[order]


def _moments(column: np.ndarray) -> tuple[float, float]:
    """Mean, and one over the standard deviation; 0 where the values are all the same, or none."""
    if len(column) == 0 or column.min() == column.max():
        return 0.0, 0.0
    return float(column.mean()), float(1.0 / column.std())


def _as_fp32(features: np.ndarray | Tensor) -> Tensor:
    if isinstance(features, Tensor):
        found = features.to(torch.float32)
    else:
        array = np.asarray(features)
        if array.dtype.kind not in "iufb":
            raise SlicingError(f"features must be numbers, got dtype {array.dtype}; declare ids as categorical")
        with np.errstate(over="ignore"):  # what is too large for fp32 becomes infinite, and is refused as that
            array = np.ascontiguousarray(array, dtype=np.float32)
        found = torch.from_numpy(array if array.flags.writeable else array.copy())  # torch warns of the others
    if found.dim() != 2:
        raise SlicingError(f"features must have shape (N, d), got {tuple(found.shape)}")
    return found


def _check_finite(infinite: Tensor, x: Tensor, names: Sequence[str]) -> None:
    if not bool(infinite.any()):
        return
    row, column = infinite.nonzero()[0].tolist()
    raise SlicingError(
        f"{names[column]!r} is {float(x[row, column])} in row {row}; features must be finite in fp32 (NaN where "
        "missing): mend or clip it"
    )
