"""Feature tiers as a TOML file: which columns a ranker reads from which rate on, and what they cost a candidate.

[[tier]]
rate = 0.25                        # the first slice rate that reads them
cost = 12.5                        # of fetching them all for one candidate, in any one unit; 0 if left out
features = ["ctr_7d", "embedding_similarity"]

Features of no tier are read by every rate and cost nothing. Several tiers may have one rate.
"""

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cascade import CascadeError
from slicing import Tier

_KEYS = {"rate": True, "cost": False, "features": True}


def read_tiers(path: Path) -> tuple[Tier, ...]:
    """The tiers of a file.

    Raises:
        CascadeError: in one line for a file that is missing, is no TOML, or has an unknown, missing or wrong key.
        SlicingError: for a cost that is none, or a tier without features.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CascadeError(f"cannot read the tiers in {path}: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, numbers of thousands of digits, endless nesting
        raise CascadeError(f"{path} is not a TOML file: {str(error).splitlines()[0]}; mend that line") from None
    entries = content.pop("tier", None)
    if content or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CascadeError(
            f"{path}: a file of tiers holds [[tier]] entries alone, got {list(content) or entries!r}; write each tier "
            "under [[tier]]"
        )
    return tuple(_tier(f"{path}: tier {number}", entry) for number, entry in enumerate(entries, start=1))


def _tier(where: str, entry: dict[str, Any]) -> Tier:
    for key in entry:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise CascadeError(f"{where}: unknown key {key!r}{hint}; the keys are {', '.join(_KEYS)}")
    missing = [key for key, needed in _KEYS.items() if needed and key not in entry]
    if missing:
        raise CascadeError(f"{where}: the key {missing[0]!r} is missing; add it")
    rate, features = entry["rate"], entry["features"]
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1:
        raise CascadeError(f"{where}: rate must be a number in (0, 1], got {rate!r}; give one of the network's rates")
    if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
        raise CascadeError(f'{where}: features must be a list of names, got {features!r}; write ["f1", "f2"]')
    return Tier(float(rate), tuple(features), entry.get("cost", 0.0))
