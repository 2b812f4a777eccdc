"""A network for tables of candidates: numeric features and categorical ids in, one score out."""

import math
import operator
from collections.abc import Sequence

import torch
from torch import fx, nn

from slicing.errors import SlicingError


def ranker_module(
    numeric: int,
    vocabularies: Sequence[int] = (),
    *,
    embedding: int = 16,
    hidden: Sequence[int] = (512, 512),
    residual: bool = True,
    dropout: float = 0.0,
) -> fx.GraphModule:
    """An MLP over features and embeddings.

    Each id's embedding and the features, side by side, flow through dense layers, each with a rectifier and dropout; a
    layer as wide as the one before it adds what it read to its result (a residual block). The last dense layer gives
    the score: sliced, it is the additive head. A graph module, because the arguments decide how many inputs it has.

    Args:
        numeric: features, at least 0.
        vocabularies: rows of each id's table, the unknown one (row 0) included.
        embedding: columns of each table, at least 1.
        hidden: units of each hidden layer, at least one of them.
        residual: whether layers of equal width add up.
        dropout: share of the hidden units dropped in training, in [0, 1).

    Returns:
        A plain torch module: called with (N, numeric), unless there are no features, and int64 (N,) for each
        vocabulary, it returns (N, 1). Convert it with :func:`input_shapes`.

    Raises:
        SlicingError: for sizes out of these ranges, or a network without any input.
    """
    sizes = {"embedding": embedding, **{f"hidden[{i}]": size for i, size in enumerate(hidden)}}
    sizes |= {f"vocabularies[{i}]": rows for i, rows in enumerate(vocabularies)}
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise SlicingError(f"{name} must be a whole number of at least 1, got {size!r}")
    if isinstance(numeric, bool) or not isinstance(numeric, int) or numeric < 0:
        raise SlicingError(f"numeric must be a whole number of at least 0, got {numeric!r}")
    if not numeric and not vocabularies:
        raise SlicingError("a ranker needs features or ids to read, got numeric=0 and no vocabularies")
    if not hidden:
        raise SlicingError("a ranker needs at least one hidden layer, got hidden=(); a linear model can't be sliced")
    if not (math.isfinite(dropout) and 0 <= dropout < 1):
        raise SlicingError(f"dropout must lie in [0, 1), got {dropout}; try 0.1")
    root, graph = nn.Module(), fx.Graph()
    features = [graph.placeholder("numeric")] if numeric else []
    ids = [graph.placeholder(f"ids_{i}") for i in range(len(vocabularies))]
    embedded = []
    for i, (rows, node) in enumerate(zip(vocabularies, ids, strict=True)):
        root.add_module(f"embedding_{i}", _table(rows, embedding))
        embedded.append(graph.call_module(f"embedding_{i}", (node,)))
    side_by_side = (*embedded, *features)
    x = side_by_side[0] if len(side_by_side) == 1 else graph.call_function(torch.cat, (side_by_side, 1))
    into = numeric + embedding * len(vocabularies)
    for i, out in enumerate(hidden):
        layers: dict[str, nn.Module] = {"dense": nn.Linear(into, out), "relu": nn.ReLU()}
        if dropout:
            layers["dropout"] = nn.Dropout(dropout)
        y = x
        for kind, layer in layers.items():
            root.add_module(f"{kind}_{i}", layer)
            y = graph.call_module(f"{kind}_{i}", (y,))
        x = graph.call_function(operator.add, (x, y)) if residual and i and into == out else y
        into = out
    root.add_module("score", nn.Linear(into, 1))
    graph.output(graph.call_module("score", (x,)))
    return fx.GraphModule(root, graph)


def input_shapes(numeric: int, vocabularies: int) -> list[tuple[int, ...]]:
    """The shape of one candidate in each of a ranker's inputs, as ``convert`` and ``cost`` take them."""
    return [*([(numeric,)] if numeric else []), *[()] * vocabularies]


def _table(rows: int, columns: int) -> nn.Embedding:
    """An embedding that starts small beside features of unit size, row 0 (unknown ids) at zero."""
    table = nn.Embedding(rows, columns)
    with torch.no_grad():
        table.weight.mul_(0.1)
        table.weight[0].zero_()
    return table
