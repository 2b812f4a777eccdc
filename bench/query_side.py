"""What is constant within a query through the first layer once per query, against once per candidate."""

from typing import Any

import torch

from bench.timing import side_by_side
from slicing import IncrementalScorer, SlicedNetwork, convert, cost
from slicing.models import input_shapes, ranker_module

QUERIES, PER_QUERY = 1_000, 100
OF_QUERY, OWN = 96, 32
RATES, HIDDEN = (0.25, 0.5, 1.0), (512, 512)


def networks(query: bool) -> SlicedNetwork:
    """The ranker's network over 32 features of the candidate and 96 of the query; whether it knows which are which."""
    torch.manual_seed(0)
    asked = ["numeric_1"]
    module = ranker_module((OWN, OF_QUERY), query=asked, hidden=HIDDEN) if query else ranker_module(OWN + OF_QUERY)
    shapes = input_shapes((OWN, OF_QUERY), 0) if query else (OWN + OF_QUERY,)
    spec = convert(module, RATES, "dense", input_shape=shapes, query_inputs=asked if query else ()).spec
    return SlicedNetwork(spec, RATES, "nested").eval()


def query_side(repeats: int) -> dict[str, Any]:
    """Every candidate at rate 1/4, a third at 1/2, a tenth at the full width; the network alone, without transforms.

    Rival: the same weights in one first layer, which reads every candidate's full row of 128 features.
    """
    ours, rival = networks(True), networks(False)
    with torch.no_grad():
        whole, own, asked = (rival.module_of("dense_0"), ours.module_of("dense_0"), ours.module_of("dense_0_query"))
        for name, layer in rival.layer_modules():
            if name != "dense_0":
                ours.module_of(name).load_state_dict(layer.state_dict())
        own.weight.copy_(whole.weight[:, :OWN])  # type: ignore[operator, index]
        own.bias.copy_(whole.bias)  # type: ignore[operator, arg-type]
        asked.weight.copy_(whole.weight[:, OWN:])  # type: ignore[operator, index]
    queries = torch.arange(QUERIES).repeat_interleave(PER_QUERY)
    mine, theirs = torch.randn(len(queries), OWN), torch.randn(QUERIES, OF_QUERY)
    full = torch.cat([mine, theirs[queries]], 1)
    kept = [torch.arange(0, len(queries), 3), torch.arange(0, len(queries) // 3, 3)]
    scorers = {"ours": IncrementalScorer(ours), "rival": IncrementalScorer(rival)}
    spent: dict[str, float] = {}
    scores: dict[str, list[torch.Tensor]] = {}

    def run(which: str) -> None:
        scorer = scorers[which]
        session = scorer.start(mine, theirs, queries=queries) if which == "ours" else scorer.start(full)
        spent[which], scores[which] = 0.0, []
        for rate, rows in zip(RATES, [None, *kept], strict=True):
            if rows is not None:
                session.select(rows)
            scores[which].append(session.widen(rate))
            spent[which] += session.flops * len(session)

    entry = side_by_side("query-side", lambda: run("ours"), lambda: run("rival"), None, repeats)
    entry["largest_difference"] = max(
        float((a - b).abs().max()) for a, b in zip(scores["ours"], scores["rival"], strict=True)
    )
    first = cost(ours, input_shapes((OWN, OF_QUERY), 0))
    entry["query_share_of_flops"] = first.query_flops(0) / first.flops(0)
    entry["flops_ratio"] = spent["ours"] / spent["rival"]
    return entry
