"""From labelled candidate tables to a trained ranker, in one call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.features import FeatureTransform
from slicing.inputs import Queries, declared
from slicing.layers import SlicedEmbedding
from slicing.mixing import Mixing
from slicing.models.ranker import QUERY_LAYER, input_names, input_shapes, ranker_module
from slicing.ndcg import Gain, ndcg
from slicing.network import SlicedNetwork
from slicing.progress import Progress
from slicing.query_batches import QueryBatches, query_order
from slicing.ranker import Ranker, check_lengths, column, feature_names, stacked, transforms_of, width_of
from slicing.ranker_settings import RankerSettings
from slicing.spec import Spec
from slicing.tiers import check_tiers, constant_within, query_columns, sources
from slicing.trace import trace
from slicing.train_config import TrainConfig
from slicing.training import TrainResult, train
from slicing.vocabulary import Vocabulary

Columns = Mapping[str, np.ndarray]

MOST_GRADE = 31
"""The highest label whose gain 2^label - 1 is worked with."""

_VALIDATED_ROWS = 16384  # rows scored together in validation


def fit_ranker(
    columns: Columns,
    labels: np.ndarray,
    qids: np.ndarray,
    validation: tuple[Columns, np.ndarray, np.ndarray],
    settings: RankerSettings | None = None,
    *,
    checkpoint: Path | str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[Ranker, TrainResult]:
    """Fit transform and vocabularies on the training split, train the network, keep its best epoch.

    The best epoch is the one with the highest mean nDCG@k over rates and validation queries with a relevant candidate;
    its gain is as :func:`validation_gain` says.
    The result depends on the arguments alone on the CPU, bit for bit.

    Args:
        columns: features, numbers (N,) or (N, features) with NaN where missing, and the categorical ids (N,).
        labels: (N,) relevance, above 0 relevant, in [0, 31]; any finite number of at least 0 where the loss is
            ``mse`` or ``bce`` and there is no joint-survival loss.
        qids: (N,) whole numbers or strings, rows in any order.
        validation: the same three of the validation split.
        settings: None takes the defaults.
        checkpoint, resume, progress: as :func:`slicing.train` takes them.

    Raises:
        SlicingError: for tables that do not fit together, labels out of range, values that the transform refuses, or a
            split without a relevant candidate; and what :func:`slicing.train` raises.
    """
    settings = RankerSettings() if settings is None else settings
    scheme = settings.training_scheme()
    labels, qids = _checked("training", columns, labels, qids, settings)
    held = _checked("validation", *validation, settings)
    gain = validation_gain(labels, held[0])
    query = query_columns(columns, qids, settings.query)
    if settings.query == "auto":
        query = _constant_too(query, validation[0], held[1])
    elif query:
        query_columns(validation[0], held[1], query)
    ranker = _untrained(columns, query, settings)
    batches = QueryBatches(ranker.inputs(columns), labels, qids, settings.batch_rows, settings.unknown_ids)
    config = TrainConfig(
        epochs=settings.epochs,
        batch_size=batches.most_rows,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        precision=settings.precision,
        device=settings.device,
        seed=settings.seed,
        optimizer="adamw",
        patience=settings.patience,
    )
    result = train(
        ranker.network,
        scheme,
        batches,
        validate=_Validation(ranker.inputs(validation[0]), *held, settings.k, gain),
        config=config,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        steps_per_epoch=batches.steps,
    )
    ranker.network.to("cpu")
    return ranker, result


def validation_gain(*labels: np.ndarray) -> Gain:
    """The gain of the nDCG by which a ranker of these labels is validated: the label itself where one is above 31."""
    return "linear" if any(len(each) and each.max() > MOST_GRADE for each in labels) else "exponential"


class _Validation:
    """Mean nDCG@k at every rate; what is constant within a query goes through the network once per query."""

    def __init__(self, inputs: tuple[Tensor, ...], labels: np.ndarray, qids: np.ndarray, k: int, gain: Gain) -> None:
        order, starts = query_order(qids)
        self.inputs = tuple(x[order] for x in inputs)  # queries together, so that few chunks share one
        self.k, self.gain = k, gain
        self.labels = torch.from_numpy(labels[order])
        self.queries = torch.arange(len(starts) - 1).repeat_interleave(torch.from_numpy(np.diff(starts)))

    def __call__(self, model: nn.Module) -> list[float]:
        network = cast(SlicedNetwork, model)
        device = next(network.parameters()).device
        parts = []
        for at in range(0, len(self.labels), _VALIDATED_ROWS):
            inputs, queries = self._chunk(network.spec, slice(at, at + _VALIDATED_ROWS))
            every = network.forward_all(
                *(x.to(device) for x in inputs), queries=None if queries is None else queries.to(device)
            )
            parts.append(every[:, :, 0].float().cpu())
        scores = torch.cat(parts, dim=1)
        return [float(ndcg(each, self.labels, self.queries, self.k, self.gain).mean()) for each in scores]

    def _chunk(self, spec: Spec, rows: slice) -> tuple[list[Tensor], Queries | None]:
        """The inputs of some candidates; query inputs by the first one of each query."""
        if not spec.query_inputs:
            return [x[rows] for x in self.inputs], None
        own = self.queries[rows]
        first = torch.cat([own.new_ones(1, dtype=torch.bool), own[1:] != own[:-1]]).nonzero()[:, 0]
        chosen = [
            x[rows][first] if name in spec.query_inputs else x[rows]
            for name, x in zip(spec.inputs, self.inputs, strict=True)
        ]
        return chosen, Queries.of(own)


def _constant_too(query: tuple[str, ...], columns: Columns, qids: np.ndarray) -> tuple[str, ...]:
    """Those of the detected query features that are constant within the other split's queries too."""
    _, queries = np.unique(qids, return_inverse=True)
    return tuple(name for name in query if constant_within(column(columns, name), queries) is None)


def _untrained(columns: Columns, query: tuple[str, ...], settings: RankerSettings) -> Ranker:
    """Transform and vocabularies fitted, the network freshly initialised."""
    check_tiers(settings.tiers, columns, settings.rates)
    for name in settings.categorical:
        column(columns, name)
    numeric = {
        name: width_of(name, np.asarray(values)) for name, values in columns.items() if name not in settings.categorical
    }
    transform = None
    if numeric:
        names = list(feature_names(numeric))
        transform = FeatureTransform.fit(stacked(columns, numeric), settings.transform, names=names)
    vocabularies = {name: Vocabulary.fit(column(columns, name), settings.min_count) for name in settings.categorical}
    found = sources(numeric, settings.categorical, settings.tiers, query, settings.rates)
    widths = [each.width for each in transforms_of(transform, numeric, found)]
    names = input_names(widths, len(vocabularies))
    known = dict(zip(names, found, strict=True))
    of_query = [name for name, source in known.items() if source.of_query]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = ranker_module(
            widths,
            [vocabulary.rows for vocabulary in vocabularies.values()],
            query=of_query,
            embedding=settings.embedding,
            hidden=settings.hidden,
            residual=settings.residual,
            dropout=settings.dropout,
        )
        shapes = input_shapes(widths, len(vocabularies))
        spec, layers = trace(module, shapes if len(shapes) > 1 else shapes[0])
        later = {name: float(settings.rates[each.first]) for name, each in known.items() if each.first}
        spec = declared(spec, later, of_query)
        # Dense layers keep the sliced network's own start, each block by its fan-in; embeddings the module's.
        network = SlicedNetwork(spec, settings.rates, settings.connectivity)
    for name, layer in network.layer_modules():
        if isinstance(layer, SlicedEmbedding):
            layer.load_state_dict(layers[name].state_dict())
    if of_query:
        _share_fan_in(network.module_of("dense_0"), network.module_of(QUERY_LAYER))
    return Ranker(network, transform, numeric, vocabularies, settings.tiers, query)


@torch.no_grad()
def _share_fan_in(own: nn.Module, query: nn.Module) -> None:
    """Two layers whose results are added start as the one layer that they are: by the fan-in of both."""
    assert isinstance(own, Mixing)
    assert isinstance(query, Mixing)
    last = len(own.gives.widths) - 1
    for k in range(last + 1):
        first = own.gives.widths[k - 1] if k else 0
        both = own.reads.widths, query.reads.widths
        at = max(k, own.firsts[-1])
        fan_in = both[0][at] + both[1][at]
        for layer, reads in zip((own, query), both, strict=True):
            layer.weight[first : own.gives.widths[k]] *= (reads[at] / fan_in) ** 0.5


def _checked(
    split: str, columns: Columns, labels: Any, qids: Any, settings: RankerSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and query ids of a split that can be trained or validated on."""
    labels, qids = np.asarray(labels), np.asarray(qids)
    if not columns:
        raise SlicingError(f"the {split} split has no columns; a ranker needs features or ids to read")
    if labels.ndim != 1 or qids.ndim != 1:
        raise SlicingError(
            f"labels and qids of the {split} split must have shape (N,), got {labels.shape} and {qids.shape}"
        )
    check_lengths({"labels": labels, "qids": qids, **{name: np.asarray(each) for name, each in columns.items()}})
    _check_labels(split, labels, settings)
    if not bool((labels > 0).any()):
        raise SlicingError(f"the {split} split of {len(labels)} rows has no label above 0: nothing to rank; check it")
    return labels.astype(np.float32), qids


def _check_labels(split: str, labels: np.ndarray, settings: RankerSettings) -> None:
    """Refuse labels that the loss can't learn from."""
    if labels.dtype.kind not in "iufb":
        raise SlicingError(f"labels of the {split} split must be numbers, got dtype {labels.dtype}; convert them")
    graded = settings.survival > 0 or settings.loss not in ("bce", "mse")
    wrong = ~np.isfinite(labels) | (labels < 0)
    if bool(wrong.any()):
        value = labels[wrong][0]
        raise SlicingError(f"labels of the {split} split must be finite, at least 0, got {value:g}; mend those rows")
    if graded and bool((labels > MOST_GRADE).any()):
        what = f"loss {settings.loss!r}" if settings.loss not in ("bce", "mse") else "the joint-survival loss"
        raise SlicingError(
            f"labels of the {split} split must be at most {MOST_GRADE}, as their gain in {what} is 2^label - 1, got "
            f"{labels.max():g}; train by --loss mse (without --survival), or rescale the labels"
        )
