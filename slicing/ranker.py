"""A ranker: sliced network, feature transform and vocabularies as one object and one file, from columns to scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slicing.checkpoint import describe, rebuild
from slicing.errors import SlicingError
from slicing.features import FeatureTransform
from slicing.files import load_tensors, save_tensors
from slicing.flops import cost, flops
from slicing.incremental import IncrementalScorer
from slicing.models.ranker import input_shapes
from slicing.network import SlicedNetwork
from slicing.rates import rate_index
from slicing.seen import Seen
from slicing.tiers import Source, Tier, check_tiers, feature_costs, sources
from slicing.vocabulary import Vocabulary

KIND = "ranker"


@dataclass(frozen=True)
class Ranker:
    """Scores candidates, given as columns, at any of the network's rates.

    Attributes:
        network: takes the transformed features, if any, and one int64 (N,) input per vocabulary.
        transform: of the numeric features; None where there are none.
        numeric: the numeric columns and how many features each holds, in the transform's order.
        vocabularies: the categorical columns and their vocabularies, in the order of the network's inputs.
        tiers: columns that not every rate reads, or that cost something.
        query: columns that are constant within a query.
        seen: the queries that it was made with; None where that is not known.
    """

    network: SlicedNetwork
    transform: FeatureTransform | None
    numeric: Mapping[str, int]
    vocabularies: Mapping[str, Vocabulary]
    tiers: tuple[Tier, ...] = ()
    query: tuple[str, ...] = ()
    seen: Seen | None = None

    @property
    def rates(self) -> tuple[float, ...]:
        """The network's slice rates."""
        return self.network.rates

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that :meth:`scores` reads."""
        return (*self.numeric, *self.vocabularies)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The columns behind each of the network's inputs."""
        return sources(self.numeric, tuple(self.vocabularies), self.tiers, self.query, self.rates)

    @cached_property
    def transforms(self) -> tuple[FeatureTransform, ...]:
        """The transform of each of the network's inputs of features."""
        return transforms_of(self.transform, self.numeric, self.sources)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of one candidate in each of the network's inputs."""
        return input_shapes([each.width for each in self.transforms], len(self.vocabularies))

    @property
    def feature_costs(self) -> tuple[float, ...]:
        """What the columns that each rate reads cost per candidate, in the unit of the tiers."""
        return feature_costs(self.tiers, self.rates)

    def columns_at(self, rate: float) -> tuple[str, ...]:
        """The columns that a rate reads."""
        to = rate_index(self.rates, rate)
        read = {name for source in self.sources if source.first <= to for name in source.columns}
        return tuple(name for name in self.columns if name in read)

    def input(self, position: int, columns: Mapping[str, np.ndarray]) -> Tensor:
        """One of the network's inputs, from the columns of its source.

        Raises:
            SlicingError: as :meth:`inputs` does.
        """
        source = self.sources[position]
        if source.categorical:
            (name,) = source.columns
            return self.vocabularies[name](column(columns, name), name)
        return self.transforms[position](stacked(columns, {name: self.numeric[name] for name in source.columns}))

    def inputs(self, columns: Mapping[str, np.ndarray]) -> tuple[Tensor, ...]:
        """What the network reads, ready for ``IncrementalScorer.start(*inputs)``.

        Args:
            columns: at least :attr:`columns`: numeric ones (N,) or (N, features), categorical ones (N,).

        Returns:
            fp32 (N, features) for each tier and side of them, then int64 (N,) for each categorical column.

        Raises:
            SlicingError: for a missing column, columns of different lengths, or values that the transform refuses.
        """
        found = tuple(self.input(position, columns) for position in range(len(self.sources)))
        check_lengths({name: column(columns, name) for name in self.columns})
        return found

    def scores(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Every rate's scores: fp32 (K, N), narrowest first, widened from rate to rate where that is exact.

        Raises:
            SlicingError: as :meth:`inputs` does.
        """
        inputs = self.inputs(columns)
        session = IncrementalScorer(self.network).start(*inputs)
        return torch.stack([session.widen(rate)[:, 0].float() for rate in self.rates]).numpy()

    def flops(self, rate: float | None = None, from_rate: float | None = None) -> int:
        """Multiply-adds per candidate at a rate, or of the step from a narrower one (see :func:`slicing.flops`)."""
        shapes = self.shapes
        return flops(self.network, shapes if len(shapes) > 1 else shapes[0], rate, from_rate)

    def query_flops(self, rate: float | None = None) -> int:
        """Those of :meth:`flops` at a rate that can run once per query."""
        shapes = self.shapes
        return cost(self.network, shapes if len(shapes) > 1 else shapes[0]).query_flops(rate_index(self.rates, rate))

    def save(self, path: Path | str, notes: Mapping[str, Any] | None = None) -> None:
        """Write all of it to one file, usually ``*.safetensors``; an interrupt leaves the old file or the new one.

        Args:
            path: the file.
            notes: anything JSON can hold that belongs with it.

        Raises:
            SlicingError: when no file can be written there.
        """
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        description: dict[str, Any] = {"network": describe(self.network), "notes": dict(notes or {})}
        description["numeric"] = [[name, width] for name, width in self.numeric.items()]
        description["categorical"] = list(self.vocabularies)
        description["tiers"] = [[tier.rate, list(tier.columns), tier.cost] for tier in self.tiers]
        description["query"] = list(self.query)
        if self.transform is not None:
            tensors |= {f"transform.{name}": tensor for name, tensor in self.transform.tensors().items()}
            description["transform"] = self.transform.description()
        for i, vocabulary in enumerate(self.vocabularies.values()):
            tensors |= {f"vocabulary.{i}.{name}": tensor for name, tensor in vocabulary.tensors().items()}
        if self.seen is not None:
            tensors |= {f"seen.{name}": tensor for name, tensor in self.seen.tensors().items()}
            description["seen"] = list(self.seen.columns)
        save_tensors(path, tensors, description, KIND)

    @classmethod
    def load(cls, path: Path | str) -> "Ranker":
        """Read a ranker back, on the CPU, in eval mode; nothing in the file is executed.

        Raises:
            SlicingError: when the file is missing, damaged, no ranker, or at odds with itself.
        """
        tensors, description = load_tensors(path, KIND)
        try:
            network = rebuild(_part(tensors, "network."), description["network"], str(path))
            numeric = {str(name): int(width) for name, width in description["numeric"]}
            transform = None
            if numeric:
                transform = FeatureTransform.rebuild(_part(tensors, "transform."), description["transform"])
            names = [str(name) for name in description["categorical"]]
            vocabularies = {
                name: Vocabulary.rebuild(_part(tensors, f"vocabulary.{i}.")) for i, name in enumerate(names)
            }
            tiers = tuple(
                Tier(float(rate), tuple(map(str, columns)), float(cost))
                for rate, columns, cost in description.get("tiers", ())
            )
            seen = Seen.rebuild(_part(tensors, "seen."), description["seen"]) if "seen" in description else None
            ranker = cls(
                network, transform, numeric, vocabularies, tiers, tuple(map(str, description.get("query", ()))), seen
            )
            check_tiers(tiers, ranker.columns, ranker.rates)
        except (KeyError, TypeError, ValueError, AttributeError, SlicingError) as error:
            raise SlicingError(f"{path}: this ranker can't be read ({error}); save it again") from error
        ranker._check(str(path))
        return ranker

    def _check(self, source: str) -> None:
        """Refuse parts that do not belong together."""
        tables = {
            node.inputs[0]: node.config["num_embeddings"] for node in self.network.spec.nodes if node.op == "embedding"
        }
        spec, known = self.network.spec, self.network.inputs
        groups = sum(not each.categorical for each in self.sources)
        ids = spec.inputs[groups:]
        rows = [vocabulary.rows for vocabulary in self.vocabularies.values()]
        if len(ids) != len(rows) or [tables.get(name) for name in ids] != rows:
            raise SlicingError(f"{source}: the network's tables {tables} do not fit vocabularies of {rows} rows")
        of_query = tuple(name for name, each in zip(spec.inputs, self.sources, strict=True) if each.of_query)
        if [known.first[name] for name in spec.inputs] != [each.first for each in self.sources] or (
            spec.query_inputs != of_query
        ):
            raise SlicingError(
                f"{source}: the network's tiers or query inputs are not those of the columns; save again"
            )
        if self.transform is None:
            return
        features = len(self.transform.names)
        given = [each.width for each in self.transforms] if sum(self.numeric.values()) == features else [features]
        widths = list(spec.input_features[:groups])
        if widths != given:
            raise SlicingError(
                f"{source}: the network reads {widths} features, the transform gives {given} from "
                f"columns of {sum(self.numeric.values())}; save the ranker again"
            )


def column(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """One column.

    Raises:
        SlicingError: when it is missing, with the nearest name.
    """
    if name not in columns:
        near = get_close_matches(name, list(columns), 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {list(columns)[:20]}"
        raise SlicingError(f"the ranker reads the column {name!r}, which is missing{hint}")
    return np.asarray(columns[name])


def stacked(columns: Mapping[str, np.ndarray], numeric: Mapping[str, int]) -> np.ndarray:
    """Numeric columns side by side, fp32 (N, features), each feature's values together in memory.

    Raises:
        SlicingError: for a missing column, one that holds no numbers, one of another width, or different lengths.
    """
    found = {name: column(columns, name) for name in numeric}
    check_lengths(found)
    for name, values in found.items():
        if values.dtype.kind not in "iufb":
            raise SlicingError(f"{name!r} must hold numbers, got dtype {values.dtype}; declare ids as categorical")
        if width_of(name, values) != numeric[name]:
            raise SlicingError(f"{name!r} must hold {numeric[name]} features a row, got shape {values.shape}")
    rows = len(next(iter(found.values())))
    result = np.empty((rows, sum(numeric.values())), dtype=np.float32, order="F")
    at = 0
    with np.errstate(over="ignore"):  # a number too large for fp32 becomes infinite, which the transform refuses
        for name, values in found.items():
            result[:, at : at + numeric[name]] = values.reshape(rows, numeric[name])
            at += numeric[name]
    return result


def width_of(name: str, values: np.ndarray) -> int:
    """Features a row of a numeric column, (N,) or (N, features)."""
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] == 0):
        raise SlicingError(f"{name!r} must have shape (N,) or (N, features), got {values.shape}")
    return 1 if values.ndim == 1 else values.shape[1]


def feature_names(numeric: Mapping[str, int]) -> Iterable[str]:
    """A name for each feature: the column's, numbered where it holds several."""
    for name, width in numeric.items():
        if width == 1:
            yield name
        else:
            yield from (f"{name}[{i}]" for i in range(width))


def transforms_of(
    transform: FeatureTransform | None, numeric: Mapping[str, int], found: Sequence[Source]
) -> tuple[FeatureTransform, ...]:
    """The part of a transform that each input of features takes."""
    if transform is None:
        return ()
    starts = dict(zip(numeric, accumulate(numeric.values(), initial=0), strict=False))
    groups = [source.columns for source in found if not source.categorical]
    if len(groups) == 1:
        return (transform,)
    return tuple(
        transform.part([starts[name] + i for name in columns for i in range(numeric[name])]) for columns in groups
    )


def check_lengths(columns: Mapping[str, np.ndarray]) -> None:
    """Refuse columns of different lengths.

    Raises:
        SlicingError: with the lengths.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = dict(list(lengths.items())[:8])
        raise SlicingError(f"columns must have the same length, got {shown}")


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
