"""LightGBM's lambdarank for the ranking simulation: trained with progress, kept as text, found again on resuming."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from cascade import feature_matrix
from slicing.files import atomic_path
from slicing.progress import Progress, open_task

PATIENCE = 50


def parameters(seed: int, k: int) -> dict[str, Any]:
    """LightGBM's, early stopping by nDCG@k."""
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [k],
        "learning_rate": 0.05,
        "num_leaves": 31,
        "seed": seed % 2**31,  # LightGBM's own are that short
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def fit_trees(
    train: pl.DataFrame,
    validation: pl.DataFrame,
    features: list[str],
    chosen: dict[str, Any],
    rounds: int,
    path: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    title: str = "trees",
) -> Any:
    """A booster cut off at its best iteration, always as read back from its file: resumed or not, the same trees.

    Args:
        train, validation: labelled tables.
        features: the columns to learn from.
        chosen: as :func:`parameters` gives them.
        rounds: boosting iterations at most.
        path: of the text model; what it was trained on is kept beside it, as ``.json``.
        resume: take the file where it was trained on the same tables with the same parameters. A training that was
            interrupted before its end begins anew.
        progress, title: show how many iterations are done.
    """
    import lightgbm

    identity = {
        "tables": [_fingerprint(frame, features) for frame in (train, validation)],
        "parameters": {**chosen, "rounds": rounds, "patience": PATIENCE, "lightgbm": lightgbm.__version__},
    }
    noted = path.with_suffix(".json")
    if resume and _matches(path, noted, identity):
        with open_task(progress, title, rounds, "trees", done=rounds) as task:
            task.advance(0, f"read from {path.name}")
        return lightgbm.Booster(model_file=path)
    noted.unlink(missing_ok=True)
    with open_task(progress, title, rounds, "trees") as task:

        def advance(state: Any) -> None:
            task.advance(1)

        booster = lightgbm.train(
            chosen,
            _grouped(train, features),
            num_boost_round=rounds,
            valid_sets=[_grouped(validation, features)],
            callbacks=[advance, lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
    with atomic_path(path) as temporary:
        booster.save_model(temporary, num_iteration=booster.best_iteration)
    with atomic_path(noted) as temporary:
        temporary.write_text(json.dumps(identity) + "\n", encoding="utf-8")
    return lightgbm.Booster(model_file=path)


def _matches(path: Path, noted: Path, identity: dict[str, Any]) -> bool:
    """Whether a whole model of this identity lies there: its note is written last."""
    try:
        return path.is_file() and bool(json.loads(noted.read_text(encoding="utf-8")) == identity)
    except (OSError, ValueError):
        return False


def _fingerprint(frame: pl.DataFrame, features: list[str]) -> str:
    rows = frame.select("qid", "docid", "label", *features).hash_rows(seed=0).to_numpy()
    return hashlib.blake2b(rows.tobytes(), digest_size=16).hexdigest()


def _grouped(frame: pl.DataFrame, features: list[str]) -> Any:
    import lightgbm

    frame = frame.sort("qid", maintain_order=True)
    sizes = frame.group_by("qid", maintain_order=True).len()["len"].to_numpy()
    return lightgbm.Dataset(feature_matrix(frame, features), frame["label"].to_numpy(), group=sizes)
