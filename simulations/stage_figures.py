"""How a cascade's stages did, one by one and together: the figures, and the tables that show them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade import (
    Alone,
    CascadeResult,
    StageRanks,
    agreement,
    hit_rate,
    inclusion_matrix,
    loss_by_stage,
    recall_by_query,
    recall_k_at_m,
    stage_recall,
    survived,
)
from simulations.report.figures import MISSING
from simulations.report.schema import Table

WIDER = (1, 2, 5)
"""m of recall@k@m, in multiples of k."""


def ranking_figures(
    result: CascadeResult, ranks: StageRanks, kept: NDArray[np.bool_] | None, relevant: pl.DataFrame | None, k: int
) -> dict[str, Any]:
    """How the stages rank, as plain types that JSON carries, None for what is not defined or not known.

    Fields: `kendall_tau` (S, S); `hit_rate` {"HR@k": [{stage, alone, joint, queries}]}; `recall_at_k` [{stage, k,
    alone, joint, queries}]; `recall_k_at_m` [{stage, m, recall, queries}]. See `cascade.stage_ranking`.

    Args:
        kept: (n, S) what each stage alone keeps, None where not every stage has scored every candidate: `hit_rate` and
            `recall_k_at_m` are then None.
        relevant: pairs; None where there are no judgements: the recalls are then None.
        k: at least 1.
    """
    hits = None if kept is None else hit_rate(ranks, result, kept, k).to_dicts()
    inside = None
    if kept is not None and relevant is not None:
        inside = recall_k_at_m(ranks, relevant, k, [k * times for times in WIDER]).to_dicts()
    return {
        "kendall_tau": [list(row) for row in agreement(ranks).mean],
        "hit_rate": {f"HR@{k}": hits},
        "recall_at_k": None if relevant is None else stage_recall(ranks, result, relevant, [k]).to_dicts(),
        "recall_k_at_m": inside,
    }


def stage_figures(
    result: CascadeResult, ranks: StageRanks, kept: NDArray[np.bool_] | None, relevant: pl.DataFrame | None, k: int
) -> dict[str, Any]:
    """Those of :func:`ranking_figures`, and what went in, came out and was lost.

    Further fields: `k`; `stages` [{rate, candidates_in, candidates_out, joint_recall (mean over the queries with
    something relevant of the share that survives up to here)}]; `loss_by_stage` as `cascade.loss_by_stage` has it;
    `inclusion` {matrix, errors, denominator}, an error being a relevant candidate that the stage alone would drop.
    """
    stages = []
    for stage, run in enumerate(result.stages):
        joint = None
        if relevant is not None:
            joint = recall_by_query(result.frame, survived(result, stage), relevant)["recall"].mean()
        way = {"candidates_in": run.candidates_in, "candidates_out": run.candidates_out}
        stages.append({"rate": run.info.rate, **way, "joint_recall": joint})
    inclusion = None
    if kept is not None and relevant is not None:
        found = inclusion_matrix(Alone(ranks.keys, kept, tuple(run.info for run in result.stages)), relevant)
        matrix = [list(row) for row in found.matrix]
        inclusion = {"matrix": matrix, "errors": list(found.errors), "denominator": found.denominator}
    return {
        "k": k,
        "stages": stages,
        "loss_by_stage": None if relevant is None else loss_by_stage(result, relevant).to_dicts(),
        **ranking_figures(result, ranks, kept, relevant, k),
        "inclusion": inclusion,
    }


def stage_tables(name: str, figures: Mapping[str, Any]) -> list[Table]:
    """The tables of one ranking's :func:`stage_figures`."""
    k, rates = figures["k"], [_rate(stage["rate"]) for stage in figures["stages"]]
    pairs: list[Table] = [
        _matrix("Kendall's tau-b", figures["kendall_tau"], rates, "Between the scores of every two stages.")
    ]
    inclusion = figures["inclusion"]
    if inclusion is not None:
        said = (
            "An error is a relevant candidate that the stage alone, keeping as many, would drop; share of the "
            f"{inclusion['denominator']}."
        )
        pairs.append(_matrix("Inclusion of errors", inclusion["matrix"], rates, said))
    inside = figures["recall_k_at_m"]
    if inside:
        ms = sorted({row["m"] for row in inside})
        shares = {(row["stage"], row["m"]): row["recall"] for row in inside}
        cells = [[rates[i], *(_share(shares[i, m]) for m in ms)] for i in range(len(rates) - 1)]
        text = (
            f"Of the relevant items in the last stage's top {k}, the share in the stage's top m, of all the candidates."
        )
        pairs.append(
            {"title": f"Recall@{k}@m", "text": text, "columns": ["rate", *(f"m = {m}" for m in ms)], "rows": cells}
        )
    for table in pairs:
        table["title"] = f"{name}: {table['title']}"
    return [_by_stage(name, figures, rates, k), *pairs]


def agreement_table(entries: Sequence[Mapping[str, Any]], k: int) -> Table:
    """The hit rate and tau of every stage but the last against the last, for several systems' entries."""
    rows = []
    for entry in entries:
        for hits in entry["hit_rate"][f"HR@{k}"]:
            stage = hits["stage"]
            tau = entry["kendall_tau"][stage][-1]
            rate = _rate(entry["stages"][stage]["rate"])
            rows.append([entry["name"], rate, _share(hits["alone"]), _share(hits["joint"]), _share(tau)])
    return {
        "title": "Agreement with the last stage",
        "text": f"HR@{k}: of the last stage's top {k} of all the candidates, the share that a stage keeps by itself, "
        "and that survives every stage up to it; Kendall's tau-b between its scores and the last stage's.",
        "columns": ["system", "rate", f"HR@{k} alone", f"HR@{k} joint", "tau with last"],
        "rows": rows,
    }


def _by_stage(name: str, figures: Mapping[str, Any], rates: Sequence[str], k: int) -> Table:
    last, judged = len(rates) - 1, figures["loss_by_stage"] is not None
    losses = {row["stage"]: row for row in figures["loss_by_stage"] or ()}
    recalls = {row["stage"]: row for row in figures["recall_at_k"] or ()}
    hits = {row["stage"]: row for row in figures["hit_rate"][f"HR@{k}"] or ()}
    rows = []
    if judged and losses[None]["lost"]:
        rows.append(["no candidate", MISSING, MISSING, *_loss(losses[None]), *[MISSING] * 5])
    for i, stage in enumerate(figures["stages"]):
        row = [rates[i], f"{stage['candidates_in']:,}", f"{stage['candidates_out']:,}"]
        if judged:
            row += [*_loss(losses[i]), _share(stage["joint_recall"])]
            row += [_share(recalls[i][which]) for which in ("alone", "joint")]
        rows.append([*row, *(_share(hits.get(i, {}).get(which)) for which in ("alone", "joint"))])
    text = f"HR@{k}: the last stage's top {k} in what the stage alone, keeping as many, and all up to it keep."
    columns = ["rate", "in", "out"]
    if judged:
        columns += ["relevant in", "lost", "share lost", "joint recall", f"recall@{k} alone", f"recall@{k} joint"]
        text = (
            "Joint recall: relevant items that survive up to here, mean over the queries with some. "
            f"Recall@{k}: in the stage's top {k} of all the candidates (alone), and of those that reached it (joint). "
            + text
        )
    if last > 0 and not hits:
        text += (
            " What a later stage would have said of candidates that never reached it is not known, which leaves open "
            f"its recall alone, HR@{k} and the inclusion of errors: --all-scores tells."
        )
    columns += [f"HR@{k} alone", f"HR@{k} joint"]
    return {"title": f"{name}: stage by stage", "text": text, "columns": columns, "rows": rows}


def _loss(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['relevant_in']:,}", f"{row['lost']:,}", _share(row["lost_share"])]


def _matrix(title: str, matrix: Sequence[Sequence[float | None]], rates: Sequence[str], text: str) -> Table:
    rows = [[rate, *map(_share, row)] for rate, row in zip(rates, matrix, strict=True)]
    return {"title": title, "text": text, "columns": ["rate", *rates], "rows": rows}


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4f}"


def _rate(value: float | None) -> str:
    return MISSING if value is None else f"{value:g}"
