"""One pass over validation: every rate's score for every candidate, which is all that planning needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.alone import AllScores
from cascade.errors import CascadeError
from cascade.frames import prepare


@dataclass(frozen=True)
class Scored:
    """The scores of K stages for n candidates of Q queries, held in canonical order (by qid, then docid).

    qids, docids: (n,) integers or strings, pairs unique, rows in any order. relevant: (n,) booleans or
    numeric labels (held as numbers); NaN (not judged) counts as 0. scores: (K, n) finite, higher is better.
    minimum: the label from which a candidate is relevant, above 0.

    Derived: query (n,) index of each candidate's query; sizes (Q,) candidates of each query.
    """

    qids: NDArray[Any]
    docids: NDArray[Any]
    relevant: NDArray[Any]
    scores: NDArray[np.float64]
    minimum: float = 1.0
    query: NDArray[np.int64] = field(init=False, repr=False)
    sizes: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        qids, docids, labels = np.asarray(self.qids), np.asarray(self.docids), np.asarray(self.relevant)
        scores = np.asarray(self.scores)
        n = len(qids) if qids.ndim == 1 else -1
        if n < 0 or docids.shape != (n,) or labels.shape != (n,) or scores.ndim != 2 or scores.shape[1] != n:
            raise CascadeError(
                f"Scored needs qids, docids and relevant of shape (n,) and scores of shape (stages, n), got "
                f"{qids.shape}, {docids.shape}, {labels.shape} and {scores.shape}; one column of scores per candidate"
            )
        if not n or not len(scores):
            raise CascadeError(
                f"Scored needs at least one candidate and one stage, got scores {scores.shape}; add some"
            )
        if labels.dtype.kind not in "biuf" or scores.dtype.kind not in "biuf":
            raise CascadeError(
                f"relevant and scores must be numeric, got {labels.dtype} and {scores.dtype}; convert them first"
            )
        if not (np.isfinite(self.minimum) and self.minimum > 0):
            raise CascadeError(f"minimum must be a finite label above 0, got {self.minimum!r}; 1 is usual")
        candidates = prepare(pl.DataFrame({"qid": qids, "docid": docids}))
        order = np.arange(n) if candidates.order is None else candidates.order
        scores = scores.astype(np.float64, copy=False)
        finite = np.isfinite(scores)
        if not finite.all():
            stage, at = np.argwhere(~finite)[0]
            raise CascadeError(
                f"stage {stage}: scores must be finite, got {scores[stage, at]} for query {qids[at].item()!r}, "
                f"candidate {docids[at].item()!r}; mend its features or the model"
            )
        labels = np.nan_to_num(labels.astype(np.float64), nan=0.0)
        if not np.isfinite(labels).all():
            raise CascadeError("labels must be finite (NaN: not judged), got an infinite one; mend it")
        values = {
            "qids": qids[order],
            "docids": docids[order],
            "relevant": labels[order],
            "scores": np.ascontiguousarray(scores[:, order]),
            "sizes": candidates.sizes,
            "query": np.repeat(np.arange(len(candidates.sizes)), candidates.sizes),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, everything: AllScores, minimum: float = 1.0) -> Scored:
        """From `score_all` over a table with a `label` column."""
        if "label" not in everything.frame.columns:
            raise CascadeError("planning needs the column 'label', got a table without it; add it before scoring")
        frame = everything.frame
        scores = np.stack([frame[f"score_{stage}"].to_numpy() for stage in range(len(everything.stages))])
        labels = frame["label"].cast(pl.Float64).fill_null(0.0).to_numpy()
        return cls(frame["qid"].to_numpy(), frame["docid"].to_numpy(), labels, scores, minimum)

    @property
    def stages(self) -> int:
        """K."""
        return len(self.scores)

    @property
    def is_relevant(self) -> NDArray[np.bool_]:
        """(n,) whether each candidate's label is at least `minimum`."""
        return np.asarray(self.relevant >= self.minimum)

    @property
    def relevant_by_query(self) -> NDArray[np.int64]:
        """(Q,) relevant candidates of each query."""
        return np.bincount(self.query[self.is_relevant], minlength=len(self.sizes))

    def take(self, queries: NDArray[np.int64]) -> Scored:
        """The candidates of these queries (indices into the Q, at least one, in any order, each once)."""
        wanted = np.zeros(len(self.sizes), dtype=bool)
        wanted[queries] = True
        rows = wanted[self.query]
        return Scored(self.qids[rows], self.docids[rows], self.relevant[rows], self.scores[:, rows], self.minimum)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when a candidate, a label or a score does."""
        digest = hashlib.blake2b(f"{self.minimum} {self.scores.shape}".encode(), digest_size=8)
        for keys in (self.qids, self.docids):
            kept = np.asarray(keys, dtype=np.int64 if keys.dtype.kind in "iu" else np.str_)
            digest.update("\0".join(kept.tolist()).encode() if kept.dtype.kind == "U" else kept.tobytes())
        digest.update(np.asarray(self.relevant, dtype=np.float64).tobytes())
        digest.update(self.scores.tobytes())
        return digest.hexdigest()
