"""A network for tables of candidates: numeric features and categorical ids in, one score out."""

import math
import operator
from collections.abc import Collection, Sequence

import torch
from torch import fx, nn

from slicing.errors import SlicingError

QUERY_LAYER = "dense_0_query"
"""The first dense layer's weights of what is constant within a query."""


MOST_UNITS = 1 << 20
"""Of a hidden layer or an embedding; beyond it a mistyped number is likelier than a machine that holds the weights."""


def ranker_module(
    numeric: int | Sequence[int],
    vocabularies: Sequence[int] = (),
    *,
    query: Collection[str] = (),
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
        numeric: features, at least 0; or the features of each of several inputs (one of 0 is none).
        vocabularies: rows of each id's table, the unknown one (row 0) included.
        query: the inputs (see :func:`input_names`) that are constant within a query: the first dense layer reads them
            with weights in a layer of their own, which can run once per query. The function is the same.
        embedding: columns of each table, at least 1.
        hidden: units of each hidden layer, at least one of them.
        residual: whether layers of equal width add up.
        dropout: share of the hidden units dropped in training, in [0, 1).

    Returns:
        A plain torch module: called with (N, features) for each input of features and int64 (N,) for each vocabulary,
        it returns (N, 1). Convert it with :func:`input_shapes`.

    Raises:
        SlicingError: for sizes out of these ranges, a network without any input, or one whose inputs are all of the
            query.
    """
    groups = _groups(numeric)
    sizes = {"embedding": embedding, **{f"hidden[{i}]": size for i, size in enumerate(hidden)}}
    sizes |= {f"vocabularies[{i}]": rows for i, rows in enumerate(vocabularies)}
    for name, size in sizes.items():
        most = 2**31 if name.startswith("vocabularies") else MOST_UNITS
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= most:
            raise SlicingError(f"{name} must be a whole number from 1 to {most}, got {size!r}; 512 units are usual")
    if not groups and not vocabularies:
        raise SlicingError("a ranker needs features or ids to read, got numeric=0 and no vocabularies")
    if not hidden:
        raise SlicingError("a ranker needs at least one hidden layer, got hidden=(); a linear model can't be sliced")
    if not (math.isfinite(dropout) and 0 <= dropout < 1):
        raise SlicingError(f"dropout must lie in [0, 1), got {dropout}; try 0.1")
    names = input_names(groups, len(vocabularies))
    if not set(query) <= set(names) or set(query) == set(names):
        raise SlicingError(f"query must name some of the inputs {names}, but not all, got {sorted(query)}")
    root, graph = nn.Module(), fx.Graph()
    read = {name: graph.placeholder(name) for name in names}
    width = dict(zip(names, groups, strict=False))
    for i, (rows, name) in enumerate(zip(vocabularies, names[len(groups) :], strict=True)):
        root.add_module(f"embedding_{i}", _table(rows, embedding))
        read[name], width[name] = graph.call_module(f"embedding_{i}", (read[name],)), embedding
    in_order = [*names[len(groups) :], *names[: len(groups)]]  # embeddings, then features
    own, asked = ([name for name in in_order if (name in query) == side] for side in (False, True))
    x = _side_by_side(graph, [read[name] for name in own])
    into = sum(width[name] for name in own)
    for i, out in enumerate(hidden):
        layers: dict[str, nn.Module] = {"dense": nn.Linear(into, out), "relu": nn.ReLU()}
        if dropout:
            layers["dropout"] = nn.Dropout(dropout)
        y = x
        for kind, layer in layers.items():
            root.add_module(f"{kind}_{i}", layer)
            y = graph.call_module(f"{kind}_{i}", (y,))
            if asked and f"{kind}_{i}" == "dense_0":
                root.add_module(QUERY_LAYER, nn.Linear(sum(width[name] for name in asked), out, bias=False))
                from_query = graph.call_module(QUERY_LAYER, (_side_by_side(graph, [read[name] for name in asked]),))
                y = graph.call_function(operator.add, (y, from_query))
        x = graph.call_function(operator.add, (x, y)) if residual and i and into == out else y
        into = out
    root.add_module("score", nn.Linear(into, 1))
    graph.output(graph.call_module("score", (x,)))
    return fx.GraphModule(root, graph)


def input_names(numeric: int | Sequence[int], vocabularies: int) -> list[str]:
    """A ranker's inputs: ``numeric``, or ``numeric_0``, ... where there are several of features; then ``ids_0``, ..."""
    groups = len(_groups(numeric))
    features = ["numeric"] if groups == 1 else [f"numeric_{i}" for i in range(groups)]
    return [*features, *(f"ids_{i}" for i in range(vocabularies))]


def input_shapes(numeric: int | Sequence[int], vocabularies: int) -> list[tuple[int, ...]]:
    """The shape of one candidate in each of a ranker's inputs, as ``convert`` and ``cost`` take them."""
    return [*((size,) for size in _groups(numeric)), *[()] * vocabularies]


def _groups(numeric: int | Sequence[int]) -> list[int]:
    """The features of each input."""
    groups = list(numeric) if isinstance(numeric, Sequence) else [numeric]
    for size in groups:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise SlicingError(f"numeric must be a whole number of at least 0, got {size!r}")
    return [size for size in groups if size]


def _side_by_side(graph: fx.Graph, nodes: Sequence[fx.Node]) -> fx.Node:
    return nodes[0] if len(nodes) == 1 else graph.call_function(torch.cat, (tuple(nodes), 1))


def _table(rows: int, columns: int) -> nn.Embedding:
    """An embedding that starts small beside features of unit size, row 0 (unknown ids) at zero."""
    table = nn.Embedding(rows, columns)
    with torch.no_grad():
        table.weight.mul_(0.1)
        table.weight[0].zero_()
    return table
