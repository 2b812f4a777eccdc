"""Numeric features as a network wants them: a transform fitted on training data, stored with the model."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from slicing.errors import RefusedValue, SlicingError
from slicing.placing import MOST_QUANTILES, Placing

TransformKind = Literal["standard", "quantile", "normal"]

_EDGE = 1e-3  # normal scores are those of ranks in [0.001, 0.999]: +-3.09
_ROWS = 1 << 14  # rows transformed together: few enough to stay near the processor, enough to make numpy's calls pay


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
        if not 2 <= quantiles <= MOST_QUANTILES:
            raise SlicingError(f"quantiles must lie in [2, {MOST_QUANTILES}], got {quantiles}; try 256")
        found = _as_fp32(features)
        named = tuple(names) if names is not None else tuple(f"feature {i}" for i in range(found.shape[1]))
        if len(named) != found.shape[1]:
            raise SlicingError(f"names must name each of {found.shape[1]} features, got {len(named)}")
        if len(found) == 0:
            raise SlicingError("a feature transform can't be fitted on no rows; check the training split")
        _check_finite(found, named)
        missing = torch.from_numpy(np.isnan(found).any(0))
        columns = [column[~np.isnan(column)].astype(np.float64) for column in found.T]
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
            features: (N, d) numbers, NaN where missing, in any memory layout; feature by feature (each column's values
                side by side) is read the fastest.

        Returns:
            fp32 (N, d + m).

        Raises:
            SlicingError: when the number of features differs; a RefusedValue where one is infinite, or missing that
                never was.
        """
        x = _as_fp32(features)
        if x.shape[1] != len(self.names):
            raise SlicingError(f"the transform was fitted on {len(self.names)} features, got {x.shape[1]}")
        result = torch.empty(len(x), self.width)

        def transform(at: int) -> None:
            self._transform(x[at : at + _ROWS], at, result[at : at + _ROWS].numpy())

        starts = range(0, len(x), _ROWS)
        if min(torch.get_num_threads(), len(starts)) > 1:  # numpy lets other threads run while it computes
            with ThreadPoolExecutor(torch.get_num_threads()) as threads:
                list(threads.map(transform, starts))
        else:
            for at in starts:
                transform(at)
        return result

    def part(self, features: Sequence[int]) -> "FeatureTransform":
        """The transform of some of the features, by position, in that order."""
        chosen = list(features)
        names = tuple(self.names[i] for i in chosen)
        return FeatureTransform(self.kind, names, self.table[:, chosen].contiguous(), self.missing[chosen])

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
        shapes_fit = table.dim() == 2 and table.shape[1] == d and missing.shape == (d,)
        shapes_fit = shapes_fit and 2 <= len(table) <= MOST_QUANTILES
        if not (
            shapes_fit
            and all(isinstance(name, str) for name in names)
            and (table.dtype, missing.dtype) == (torch.float32, torch.bool)
            and bool(table.isfinite().all())
            and (len(table) == 2 if kind == "standard" else bool((table[1:] >= table[:-1]).all()))
        ):
            raise SlicingError("the feature transform's numbers do not fit together; save the model again")
        return cls(kind, tuple(names), table, missing)

    def _transform(self, x: np.ndarray, first: int, result: np.ndarray) -> None:
        """Rows from number `first` on, transformed feature by feature while they are in the processor's cache."""
        d = len(self.names)
        absent = None if bool(np.isfinite(x).all()) else self._absent(x, first)
        with np.errstate(over="ignore"):  # far beyond what training held; the engine refuses infinite scores
            values = np.array([function(feature) for feature, function in zip(x.T, self._functions, strict=True)])
        if absent is None:
            result[:, d:] = 0.0
        else:
            values[absent.T] = 0.0
            result[:, d:] = absent[:, self.missing.numpy()]
        result[:, :d] = values.T

    def _absent(self, x: np.ndarray, first: int) -> np.ndarray:
        """Which values are missing; refuses infinite ones, and missing ones of features that never were."""
        _check_finite(x, self.names, first)
        absent = np.isnan(x)
        never = absent.any(0) & ~self.missing.numpy()
        if never.any():
            column = int(never.argmax())
            raise RefusedValue(
                self.names[column],
                "is missing",
                "it never was in training: fill it in, or train with rows that lack it",
                first + int(absent[:, column].argmax()),
            )
        return absent

    @cached_property
    def _functions(self) -> list[Callable[[np.ndarray], np.ndarray]]:
        """What becomes of each feature's present values, fp32 (n,) to fp32 (n,)."""
        columns = np.ascontiguousarray(self.table.t().numpy())
        if self.kind == "standard":
            return [partial(_standard, mean, scale) for mean, scale in columns]
        if self.kind == "normal":
            return [partial(_normal, Placing.among(quantiles)) for quantiles in columns]
        return [Placing.among(quantiles, -1.0, 1.0) for quantiles in columns]


def _standard(mean: np.float32, scale: np.float32, x: np.ndarray) -> np.ndarray:
    return (x - mean) * scale


def _normal(placing: Placing, x: np.ndarray) -> np.ndarray:
    return torch.special.ndtri(torch.from_numpy(placing(x)).clamp_(_EDGE, 1.0 - _EDGE)).numpy()


def _moments(column: np.ndarray) -> tuple[float, float]:
    """Mean, and one over the standard deviation; 0 where the values are all the same, or none."""
    if len(column) == 0 or column.min() == column.max():
        return 0.0, 0.0
    return float(column.mean()), float(1.0 / column.std())


def _as_fp32(features: np.ndarray | Tensor) -> np.ndarray:
    """(N, d) in its own memory layout, not copied where it is fp32 already."""
    if isinstance(features, Tensor):
        found = features.detach().to("cpu", torch.float32).numpy()
    else:
        array = np.asarray(features)
        if array.dtype.kind not in "iufb":
            raise SlicingError(f"features must be numbers, got dtype {array.dtype}; declare ids as categorical")
        with np.errstate(over="ignore"):  # what is too large for fp32 becomes infinite, and is refused as that
            found = array.astype(np.float32, copy=False)
    if found.ndim != 2:
        raise SlicingError(f"features must have shape (N, d), got {found.shape}")
    return found


def _check_finite(x: np.ndarray, names: Sequence[str], first: int = 0) -> None:
    """Refuse infinite values of rows numbered from `first` on."""
    infinite = np.isinf(x)
    if not infinite.any():
        return
    row, column = np.argwhere(infinite)[0]
    raise RefusedValue(
        names[column],
        f"is {float(x[row, column])}",
        "features must be finite in fp32 (NaN where missing): mend or clip it",
        first + int(row),
    )
