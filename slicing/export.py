"""One rate for deployment: a standalone network of that width alone, and the same as a torch.export program."""

import io
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slicing.convert import convert
from slicing.errors import SlicingError
from slicing.extract import extract
from slicing.features import FeatureTransform
from slicing.files import atomic_path
from slicing.models.ranker import input_shapes
from slicing.network import SlicedNetwork
from slicing.ranker import Ranker
from slicing.rates import rate_index
from slicing.tiers import Tier

PROGRAM_FACTS = "slicerank.json"
"""Name of the extra file in a program that says what it is."""

_EXAMPLES = 4  # candidates traced; their number stays free


def standalone(network: SlicedNetwork, rate: float, shapes: Sequence[tuple[int, ...]]) -> SlicedNetwork:
    """The r-net as a network of one rate, 1.0, in eval mode, which holds no weight of any wider one.

    Of a nested network it computes the zeros above the block diagonal too, as plain layers do: it costs somewhat more
    multiply-adds than the network at that rate.

    Args:
        network: any sliced network.
        rate: one of its rates.
        shapes: of one candidate in each of the inputs that the rate reads.

    Raises:
        SlicingError: for a rate it does not have, or inputs of another shape than it takes.
    """
    _examples(network, rate, shapes)
    given = list(shapes) if len(shapes) > 1 else shapes[0]
    query = [name for name in network.spec.query_inputs if name in _read(network, rate)]
    return convert(extract(network, rate), [1.0], "dense", input_shape=given, query_inputs=query).eval()


def standalone_ranker(ranker: Ranker, rate: float) -> Ranker:
    """The same of a ranker: the columns that the rate reads, with their transform and vocabularies.

    ``run`` and :meth:`Ranker.load` can read it like any other.

    Raises:
        SlicingError: for a rate it does not have, or one that reads the features of several tiers: those are inputs of
            their own, which a ranker of one rate has no use for.
    """
    to = rate_index(ranker.rates, rate)
    read = [(place, source) for place, source in enumerate(ranker.sources) if source.first <= to]
    sides = [source.of_query for _, source in read if not source.categorical]
    if len(set(sides)) < len(sides):
        raise SlicingError(
            f"rate {rate:g} reads features of several tiers, which a ranker of one rate can't keep apart; keep the "
            f"whole model and run it by a cascade file whose only stage is rate {rate:g}, export a narrower rate, or "
            f"train without tiers"
        )
    names = ranker.columns_at(rate)
    numeric = {name: width for name, width in ranker.numeric.items() if name in names}
    vocabularies = {name: known for name, known in ranker.vocabularies.items() if name in names}
    widths = [ranker.transforms[place].width for place, source in read if not source.categorical]
    return Ranker(
        standalone(ranker.network, rate, input_shapes(widths, len(vocabularies))),
        _of_columns(ranker, numeric),
        numeric,
        vocabularies,
        tuple(Tier(1.0, tier.columns, tier.cost) for tier in ranker.tiers if rate_index(ranker.rates, tier.rate) <= to),
        tuple(name for name in ranker.query if name in names),
        ranker.seen,  # of columns that every rate reads
    )


def save_program(
    network: SlicedNetwork, path: Path | str, shapes: Sequence[tuple[int, ...]], facts: Mapping[str, Any]
) -> None:
    """Write a network of one rate as a torch.export program (``.pt2``), for any number of candidates.

    ``torch.export.load(path).module()`` takes the network's inputs, int64 for ids, and returns its scores; it needs
    torch and none of this package.

    Args:
        network: of one rate, as :func:`standalone` makes it.
        path: the file; an interrupt leaves the old one or the new one.
        shapes: of one candidate in each of its inputs.
        facts: anything JSON can hold, stored in the program as the extra file :data:`PROGRAM_FACTS`.

    Raises:
        SlicingError: for inputs of another shape than the network takes, or when no file can be written there.
    """
    plain = extract(network)
    examples = _examples(network, 1.0, shapes)
    candidates = torch.export.Dim("candidates", min=1)
    free = tuple({0: candidates} for _ in examples)
    program = torch.export.export(plain, examples, dynamic_shapes=free)
    written = io.BytesIO()  # a file's name would have to end in .pt2, which a temporary one's does not
    torch.export.save(program, written, extra_files={PROGRAM_FACTS: json.dumps(facts, allow_nan=False)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(written.getbuffer())


def _examples(network: SlicedNetwork, rate: float, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Zeros of these shapes, once the network has taken them; ids have no dimension but the candidates'."""
    read, dtype = _read(network, rate), next(network.parameters()).dtype
    examples = tuple(torch.zeros(_EXAMPLES, *shape, dtype=dtype if shape else torch.int64) for shape in shapes)
    try:
        with torch.no_grad():
            given = iter(examples)
            network(*(next(given) if name in read else None for name in network.spec.inputs), rate=rate)
    except (RuntimeError, TypeError) as error:
        raise SlicingError(
            f"the network can't take inputs of the shapes {list(shapes)} ({str(error).splitlines()[0]}); name those "
            f"that it was trained on"
        ) from error
    return examples


def _read(network: SlicedNetwork, rate: float) -> list[str]:
    """The inputs that a rate reads."""
    to = rate_index(network.rates, rate)
    return [name for name in network.spec.inputs if network.inputs.first[name] <= to]


def _of_columns(ranker: Ranker, numeric: Mapping[str, int]) -> FeatureTransform | None:
    """The transform of some of a ranker's numeric columns."""
    if ranker.transform is None or not numeric:
        return None
    starts = dict(zip(ranker.numeric, accumulate(ranker.numeric.values(), initial=0), strict=False))
    return ranker.transform.part([starts[name] + i for name, width in numeric.items() for i in range(width)])
