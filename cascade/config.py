"""cascade.toml: the file that `plan` writes and `run` reads. It names the model, the stages and how they came about.

schema = 1
model = "model.safetensors"        # relative to this file

[[stages]]
rate = 0.25
keep = "top_k"
value = 60

[[stages]]
rate = 1.0
keep = "top_k"                     # the last rule: the final k
value = 10

[plan]                             # optional: how it was planned
goal = "recall >= 0.98"
...
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from cascade.errors import CascadeError
from cascade.files import write_text
from cascade.keep import (
    KeepAll,
    KeepRule,
    PredictedClass,
    ScoreAtLeast,
    ScoreDrop,
    TopK,
    TopKColumn,
    TopShare,
    check_cutoffs,
)
from cascade.numbers import is_finite

SCHEMA = 1


@dataclass(frozen=True)
class StageConfig:
    """One stage: the slice rate in (0, 1] that scores, and what it keeps."""

    rate: float
    rule: KeepRule

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, int | float) or not 0 < self.rate <= 1:
            raise CascadeError(f"rate must be in (0, 1], got {self.rate!r}; it is the share of units in use")


@dataclass(frozen=True)
class Planned:
    """How a cascade was planned; whatever is unknown is None.

    goal: in words, such as "recall >= 0.98". recall, ndcg, cost: predicted on validation, the cost as a mean per
    query, in `unit`. promised, confidence, theorem: of a promise. fingerprint: of the validation scores.
    """

    goal: str
    cost: float
    unit: str
    recall: float | None = None
    ndcg: float | None = None
    promised: float | None = None
    confidence: float | None = None
    theorem: str | None = None
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        for name in ("goal", "unit", "theorem", "fingerprint"):
            value = getattr(self, name)
            if not (value is None and name in ("theorem", "fingerprint")) and not isinstance(value, str):
                raise CascadeError(f"plan.{name} must be a string, got {value!r}; put it in quotes")
        for name in ("recall", "ndcg", "promised", "confidence", "cost"):
            value = getattr(self, name)
            if value is None and name != "cost":
                continue
            if not is_finite(value) or value < 0 or (name != "cost" and value > 1):
                wanted = "a finite number of at least 0" if name == "cost" else "a number in [0, 1]"
                raise CascadeError(f"plan.{name} must be {wanted}, got {value!r}; mend it or plan again")


@dataclass(frozen=True)
class CascadeConfig:
    """What a cascade file says.

    model: path of the model file, relative to the folder of the cascade file. stages: rising rates, at least
    one; the last one's rule is the final cut. plan: how it was planned, or None for one written by hand.
    """

    model: str
    stages: tuple[StageConfig, ...]
    plan: Planned | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise CascadeError(f"model must name the model file, got {self.model!r}; give its relative path")
        path = PurePosixPath(self.model)
        if path.is_absolute() or "\\" in self.model or self.model[1:2] == ":":
            raise CascadeError(
                f"model must be a path relative to the cascade file with / between folders, got {self.model!r}; "
                f"keep the two files together"
            )
        if not self.stages:
            raise CascadeError("a cascade file needs at least one [[stages]] entry, got none; add the last rate")
        rates = [stage.rate for stage in self.stages]
        for before, after in pairwise(rates):
            if after <= before:
                raise CascadeError(f"rates must rise from stage to stage, got {after!r} after {before!r}; reorder them")
        check_cutoffs(self.rules)

    @property
    def rules(self) -> tuple[KeepRule, ...]:
        """A keep rule for each stage."""
        return tuple(stage.rule for stage in self.stages)

    @property
    def rates(self) -> tuple[float, ...]:
        """The slice rate of each stage."""
        return tuple(stage.rate for stage in self.stages)

    @property
    def final_k(self) -> int | None:
        """How many of each query the last stage keeps; None when its rule is no top k."""
        rule = self.stages[-1].rule
        return rule.k if isinstance(rule, TopK) else None


_Make = Callable[..., KeepRule]
_KEEPS: dict[str, tuple[_Make, type[KeepRule], tuple[str, ...]]] = {
    "top_k": (TopK, TopK, ("k",)),
    "top_k_column": (TopKColumn, TopKColumn, ("column", "otherwise")),
    "share": (TopShare, TopShare, ("share", "minimum")),
    "score_at_least": (ScoreAtLeast, ScoreAtLeast, ("threshold",)),
    "score_drop": (ScoreDrop, ScoreDrop, ("drop",)),
    "predicted_class": (PredictedClass, PredictedClass, ()),
    "all": (KeepAll, KeepAll, ()),
}
"""Kind in the file: the rule, and its fields; the first one is written as `value`."""


def write_config(path: Path | str, config: CascadeConfig) -> None:
    """Write a cascade file, whole or not at all.

    Raises CascadeError when it can't be written, or holds a rule that the file has no word for.
    """
    lines = [f"schema = {SCHEMA}", f"model = {_toml(config.model)}"]
    for stage in config.stages:
        lines += ["", "[[stages]]", f"rate = {_toml(float(stage.rate))}", *_rule_lines(stage.rule)]
    if config.plan is not None:
        values = {field.name: getattr(config.plan, field.name) for field in fields(Planned)}
        lines += ["", "[plan]", *(f"{name} = {_toml(value)}" for name, value in values.items() if value is not None)]
    write_text(Path(path), "\n".join(lines) + "\n")


def read_config(path: Path | str) -> CascadeConfig:
    """Read a cascade file.

    Raises CascadeError in one line for a file that is missing, is no TOML, or has an unknown key, a missing
    key or a wrong value.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CascadeError(
            f"no cascade file at {path}: no such file; write one with `plan`, or check the path"
        ) from None
    except OSError as error:
        raise CascadeError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, numbers of thousands of digits, endless nesting
        reason = str(error).splitlines()[0]
        raise CascadeError(f"{path} is not a TOML file: {reason}; mend that line or plan again") from None
    try:
        return _config(content)
    except CascadeError as error:
        raise CascadeError(f"{path}: {error}") from None


def _config(content: Mapping[str, Any]) -> CascadeConfig:
    if "schema" in content and (content["schema"] != SCHEMA or isinstance(content["schema"], bool)):
        raise CascadeError(f"schema must be {SCHEMA}, got {content['schema']!r}; plan again with this version")
    _check_keys("the file", content, ("schema", "model", "stages"), ("plan",))
    tables = content["stages"]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise CascadeError(f"stages must be tables, got {tables!r}; write each under [[stages]]")
    stages = tuple(_stage(f"stage {i}", table) for i, table in enumerate(tables))
    plan = None
    if "plan" in content:
        table = content["plan"]
        if not isinstance(table, dict):
            raise CascadeError(f"plan must be a table, got {table!r}; write it under [plan]")
        names = [field.name for field in fields(Planned)]
        _check_keys("plan", table, names[:3], names[3:])
        plan = Planned(**table)
    return CascadeConfig(content["model"], stages, plan)


def _stage(where: str, table: Mapping[str, Any]) -> StageConfig:
    if "keep" not in table:
        raise CascadeError(f"{where}: the key 'keep' is missing; add it, one of {', '.join(_KEEPS)}")
    keep = table["keep"]
    if not isinstance(keep, str) or keep not in _KEEPS:
        near = _nearest(str(keep), _KEEPS)
        raise CascadeError(f"{where}: keep must be one of {', '.join(_KEEPS)}, got {keep!r}{near}; change it")
    make, _, names = _KEEPS[keep]
    first, extra = ("value",) if names else (), names[1:]
    _check_keys(where, table, ("rate", "keep", *first), extra)
    values = {("value" if i == 0 else name): name for i, name in enumerate(names)}
    try:
        rule = make(**{name: table[key] for key, name in values.items() if key in table})
        return StageConfig(table["rate"], rule)
    except CascadeError as error:
        raise CascadeError(f"{where}: {error}") from None


def _rule_lines(rule: KeepRule) -> list[str]:
    for keep, (_, kind, names) in _KEEPS.items():
        if type(rule) is kind:
            lines = [f"keep = {_toml(keep)}"]
            for i, name in enumerate(names):
                value = getattr(rule, name)
                if value is not None:
                    lines.append(f"{'value' if i == 0 else name} = {_toml(value)}")
            return lines
    raise CascadeError(f"a cascade file has no word for the rule {rule!r}; use one of {', '.join(_KEEPS)}")


def _check_keys(where: str, table: Mapping[str, Any], required: Sequence[str], optional: Sequence[str]) -> None:
    known = [*required, *optional]
    for key in table:
        if key not in known:
            raise CascadeError(f"{where}: unknown key {key!r}{_nearest(key, known)}; the keys are {', '.join(known)}")
    for key in required:
        if key not in table:
            raise CascadeError(f"{where}: the key {key!r} is missing; add it")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _toml(value: Any) -> str:
    """A string, whole number or finite float in TOML."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if hasattr(value, "item"):  # a numpy number
        value = value.item()
    return repr(value)
