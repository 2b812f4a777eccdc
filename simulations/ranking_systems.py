"""The systems that `simulate ranking` compares, trained on one fold: each a scorer of the same number of stages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import brentq

from cascade import (
    CallableScorer,
    CascadeError,
    KeepRule,
    Scorer,
    StageInfo,
    TopK,
    TopShare,
    TreePrefixScorer,
    estimator_function,
    feature_matrix,
)
from simulations.ranker_costs import flop_costs
from simulations.ranking_settings import WIDER, RankingSettings
from simulations.ranking_trees import fit_trees, parameters
from simulations.sliced_systems import SLICED_SYSTEMS, system_changes
from simulations.tables import RankerScorer, SeparateRankers, columns_of, ranker_arrays, stage_infos
from slicing import Ranker, RankerSettings, TrainResult, fit_ranker
from slicing.progress import Progress
from slicing.reuse import Reuse

TREE_UNIT = "visits"


@dataclass(frozen=True)
class FoldData:
    """The labelled tables of one fold and the roles of their columns."""

    number: int
    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """A system of one fold.

    Attributes:
        scorer: its stages.
        cost_unit: what the stages' ``flops`` count.
        note: what a reader must know of it.
        increments: ``[j][k]``, the cost per candidate from stage j to stage k; None where nothing is reused.
        training: of its neural rankers, by name: the run and the rates its figures belong to; None: it has none.
        rules: what each stage keeps.
    """

    scorer: Scorer
    cost_unit: str = "FLOPs"
    note: str = ""
    increments: Sequence[Sequence[float]] | None = None
    training: Mapping[str, tuple[TrainResult, Sequence[float]]] | None = None
    rules: Sequence[KeepRule] = ()


class Fitter:
    """Trains the systems of one fold; what two of them share is trained once."""

    def __init__(self, settings: RankingSettings, fold: FoldData, progress: Progress | None) -> None:
        self.settings, self.fold, self.progress = settings, fold, progress
        self._rankers: dict[str, tuple[Ranker, TrainResult]] = {}

    def fit(self, system: str) -> Trained:
        """Train one system.

        Raises:
            ValueError: in one line, for data that it can't be trained on.
        """
        makers: dict[str, Callable[[], Trained]] = {
            "separate": self._separate,
            "linear-first": self._linear_first,
            "trees-prefix": self._trees_prefix,
            "trees-separate": self._trees_separate,
        }
        name = "sliced-nested" if system == WIDER else system
        trained = makers[name]() if name in makers else self._sliced(name)
        shares = self.wider_shares(trained) if system == WIDER else self.settings.keep
        return replace(trained, rules=[*(TopShare(share) for share in shares), TopK(self.settings.final_k)])

    def wider_shares(self, nested: Trained) -> tuple[float, ...]:
        """The funnel's shares, all enlarged by one factor, on which the nested cascade spends part of what it saves.

        FLOPs are counted for a candidate by itself, so that the shares are those of the architecture alone.
        """
        keep = np.array(self.settings.keep)
        alone = np.array([info.flops for info in self._separate().scorer.stages])
        assert isinstance(nested.scorer, RankerScorer)
        costs = flop_costs(nested.scorer.ranker)
        steps = np.array([costs.of(k - 1, k) for k in range(len(costs))])

        def spent(factor: float) -> float:
            return float(steps[0] + steps[1:] @ np.minimum(1.0, factor * keep))

        saved = float(alone[0] + alone[1:] @ keep) - spent(1.0)
        allowed = spent(1.0) + self.settings.reinvest * saved
        most = float(1 / keep.min())
        factor = most if spent(most) <= allowed else brentq(lambda factor: spent(factor) - allowed, 1.0, most)
        return tuple(float(share) for share in np.minimum(1.0, factor * keep))

    def _sliced(self, system: str) -> Trained:
        """A sliced network; one whose name ends in ``-reuse`` is the dense one before it, run by section 3.4."""
        name, settings = system.removesuffix("-reuse"), self.settings.ranker
        if name in SLICED_SYSTEMS:
            changes = system_changes(name, settings.rates)
            settings = replace(settings, survival=0.0, keep=None, **changes)
        ranker, result = self._ranker(name, settings)
        reuse: Reuse = "always" if system != name else "auto"
        per_query = len(self.fold.test) / max(1, self.fold.test["qid"].n_unique())
        steps = flop_costs(ranker, per_query, reuse).increment  # what a run spends: it recomputes where that is cheaper
        note = "reuse as in section 3.4, an approximation" if reuse == "always" else ""
        return Trained(
            RankerScorer(ranker, reuse), note=note, increments=steps, training={name: (result, ranker.rates)}
        )

    def _alone(self, rate: float) -> tuple[Ranker, TrainResult]:
        """A ranker of a stage's width, trained by itself."""
        whole, names = self.settings.ranker, self._read_at(rate)
        narrow = replace(
            whole,
            rates=(1.0,),
            hidden=tuple(round(units * rate) for units in whole.hidden),
            embedding=max(1, round(whole.embedding * rate)),
            connectivity="nested",
            scheme="joint",
            weights=None,
            distill=0.0,
            own=0.0,
            survival=0.0,
            keep=None,
            tiers=(),
            query=whole.query if isinstance(whole.query, str) else tuple(n for n in whole.query if n in names),
        )
        return self._ranker(f"separate-{rate:g}", narrow, names)

    def _read_at(self, rate: float) -> list[str]:
        """The columns that the tiers allow a stage."""
        late = {name for tier in self.settings.ranker.tiers if tier.rate > rate for name in tier.columns}
        return [name for name in (*self.fold.numeric, *self.fold.categorical) if name not in late]

    def _numeric_at(self, rate: float) -> list[str]:
        return [name for name in self._read_at(rate) if name in self.fold.numeric]

    def _fetched(self, names: Sequence[str]) -> float:
        """What these columns cost a candidate: a tier is fetched as a whole."""
        return sum(tier.cost for tier in self.settings.ranker.tiers if set(tier.columns) & set(names))

    def _separate(self) -> Trained:
        rates = self.settings.ranker.rates
        fitted = {rate: self._alone(rate) for rate in rates}
        results = {f"separate-{rate:g}": (result, (rate,)) for rate, (_, result) in fitted.items()}
        costs = [self._fetched(self._read_at(rate)) for rate in rates]
        return Trained(SeparateRankers([ranker for ranker, _ in fitted.values()], rates, costs), training=results)

    def _linear_first(self) -> Trained:
        first, *wider = self.settings.ranker.rates
        numeric = self._numeric_at(first)
        linear = _linear(self.fold.train, numeric)
        functions: list[Callable[[pl.DataFrame], NDArray[Any]]] = [estimator_function(linear, numeric)]
        infos = [StageInfo(None, len(numeric) + 1, float(len(numeric)), self._fetched(numeric))]
        results: dict[str, tuple[TrainResult, Sequence[float]]] = {}
        for rate in wider:
            ranker, result = self._alone(rate)
            results[f"separate-{rate:g}"] = (result, (rate,))
            functions.append(partial(_full_scores, ranker))
            info = stage_infos(ranker)[-1]
            infos.append(replace(info, rate=rate, features=self._fetched(self._read_at(rate))))
        note = "a ridge regression, then the separate networks"
        return Trained(CallableScorer(functions, infos), note=note, training=results)

    def _trees_prefix(self) -> Trained:
        numeric = list(self.fold.numeric)  # every tree may read every feature, so the first stage fetches them all
        booster = self._booster(self.settings.trees, "trees", numeric)
        last = booster.current_iteration()
        counts = _rising([max(1, round(rate * last)) for rate in self.settings.ranker.rates], last)
        steps = [[float(b - a) if b > a else 0.0 for b in counts] for a in counts]
        note = "LightGBM lambdarank, one model by prefix of its trees; ids are not among its features"
        scorer = TreePrefixScorer(booster, counts, numeric)
        scorer.stages = tuple(replace(info, features=self._fetched(numeric)) for info in scorer.stages)
        return Trained(scorer, TREE_UNIT, note, steps)

    def _trees_separate(self) -> Trained:
        functions, infos = [], []
        for rate in self.settings.ranker.rates:
            numeric = self._numeric_at(rate)
            booster = self._booster(max(1, round(rate * self.settings.trees)), f"trees-{rate:g}", numeric)
            count = booster.current_iteration()
            functions.append(partial(_tree_scores, booster, count, numeric))
            params = TreePrefixScorer(booster, [count], numeric).params_held
            infos.append(StageInfo(None, params, float(count), self._fetched(numeric)))
        note = "LightGBM lambdarank, a model of its own per stage; ids are not among its features"
        return Trained(CallableScorer(functions, infos), TREE_UNIT, note)

    def _ranker(
        self, name: str, settings: RankerSettings, names: Sequence[str] | None = None
    ) -> tuple[Ranker, TrainResult]:
        if name in self._rankers:
            return self._rankers[name]
        fold = self.fold
        names = [*fold.numeric, *fold.categorical] if names is None else names
        ids = tuple(each for each in fold.categorical if each in names)
        folder = self.settings.out / "checkpoints" / f"fold{fold.number}"
        folder.mkdir(parents=True, exist_ok=True)
        self._rankers[name] = fit_ranker(
            *ranker_arrays(fold.train, names),
            ranker_arrays(fold.validation, names),
            replace(settings, categorical=ids, seed=self.settings.seed),
            checkpoint=folder / f"{name}.safetensors",
            resume=self.settings.resume,
            progress=self.progress,
        )
        models = _made(self.settings.out / "models" / f"fold{fold.number}")
        self._rankers[name][0].save(models / f"{name}.safetensors")
        return self._rankers[name]

    def _booster(self, rounds: int, name: str, numeric: Sequence[str]) -> Any:
        fold, settings = self.fold, self.settings
        return fit_trees(
            fold.train,
            fold.validation,
            list(numeric),
            parameters(settings.seed, settings.final_k),
            rounds,
            _made(settings.out / "models" / f"fold{fold.number}") / f"{name}.txt",
            resume=settings.resume,
            progress=self.progress,
            title=f"{name}, fold {fold.number}",
        )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _linear(train: pl.DataFrame, numeric: Sequence[str]) -> Any:
    """Ridge regression on the labels: missing values imputed, features standardised."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if not numeric:
        raise CascadeError("linear-first needs numeric features, the data has none; leave it out with --system")
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge(alpha=1.0))
    return model.fit(feature_matrix(train, numeric), train["label"].to_numpy())


def _full_scores(ranker: Ranker, candidates: pl.DataFrame) -> NDArray[Any]:
    return ranker.scores(columns_of(candidates, ranker.columns))[-1]


def _tree_scores(booster: Any, count: int, features: Sequence[str], candidates: pl.DataFrame) -> NDArray[Any]:
    if not len(candidates):
        return np.zeros(0)
    return booster.predict(feature_matrix(candidates, features), num_iteration=count, raw_score=True)


def _rising(counts: Sequence[int], last: int) -> list[int]:
    """Strictly rising counts that end in `last`: a small booster has few trees to share out."""
    if last < len(counts):
        raise CascadeError(
            f"{len(counts)} stages need at least {len(counts)} trees, early stopping left {last}; use fewer rates"
        )
    rising: list[int] = []
    for k, count in enumerate(counts):
        room = last - (len(counts) - 1 - k)  # for the stages to come
        rising.append(min(max(count, rising[-1] + 1 if rising else 1), room))
    return [*rising[:-1], last]
