"""What `simulate ranking` is asked to do."""

from dataclasses import dataclass, field
from pathlib import Path

from simulations.sliced_systems import SLICED_SYSTEMS
from slicing import RankerSettings

WIDER = "nested-wider"
"""The network of ``sliced-nested`` in a cascade that keeps more at every stage, for what reuse saves."""

SYSTEMS = ("sliced-nested", WIDER, "separate", "linear-first", "trees-prefix", "trees-separate")
"""The systems that `simulate ranking` runs when none is named."""

CONTROLLED = (*SLICED_SYSTEMS, *(f"{name}-reuse" for name in SLICED_SYSTEMS if name.startswith("dense-")))
"""The other sliced networks of the controlled comparison (``docs/nesting.md``), run when named: ``-reuse`` is the same
dense network, its reuse the approximation of section 3.4."""


@dataclass(frozen=True)
class RankingSettings:
    """One run of the ranking simulation.

    Attributes:
        out: folder of the report, the models and the checkpoints.
        data: ``synthetic``, ``mq2008``, ``movielens``, or ``prepared`` for a folder that ``slicerank data`` wrote.
        data_dir: folder of the originals, or the prepared folder; synthetic needs none.
        folds: numbers of the folds to run, from 1; None runs all.
        keep: what each stage but the last keeps, as shares in (0, 1] of the candidates a query began with.
        final_k: what the last stage keeps.
        reinvest: what ``nested-wider`` spends on keeping more at each stage, by one factor for all: a share, in
            [0, 1], of the FLOPs by which the nested cascade is cheaper than the separate one.
        systems: which of :data:`SYSTEMS` and :data:`CONTROLLED`.
        ranker: how the neural rankers are built and trained; its rates are the stages.
        trees: boosting iterations at most; stages use the rates' shares of them.
        seed: of everything.
        seeds: how many, from ``seed`` on: everything is trained anew with each, on the same tables.
        resume: go on from the checkpoints of networks and the finished trees in ``out``. Prepared tables in ``out``
            are used again with or without it, as long as their input is unchanged.
    """

    out: Path
    data: str = "synthetic"
    data_dir: Path | None = None
    folds: tuple[int, ...] | None = None
    keep: tuple[float, ...] = (0.6, 0.4, 0.25)
    final_k: int = 10
    reinvest: float = 0.1
    systems: tuple[str, ...] = SYSTEMS
    ranker: RankerSettings = field(default_factory=RankerSettings)
    trees: int = 300
    seed: int = 0
    seeds: int = 1
    resume: bool = False
