"""The settings of each operation and the values they may have: a file from somebody else may hold anything."""

from collections.abc import Callable, Mapping
from typing import Any

from slicing.errors import SlicingError

Rule = tuple[str, Callable[[Any], bool]]  # what is wanted, in words, and whether a value is that

_LARGEST = 2**31 - 1


def _whole(least: int) -> Rule:
    return f"a whole number from {least}", lambda value: type(value) is int and least <= value <= _LARGEST


def _pair(rule: Rule) -> Rule:
    words, fits = rule
    return (
        f"two of: {words}",
        lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(fits(item) for item in value),
    )


def _either(*rules: Rule) -> Rule:
    return " or ".join(words for words, _ in rules), lambda value: any(fits(value) for _, fits in rules)


def _one_of(*values: Any) -> Rule:
    return f"one of {list(values)}", lambda value: any(type(value) is type(each) and value == each for each in values)


_YES_NO = _one_of(True, False)
_SIZE = _whole(1)
_NUMBER: Rule = "a finite number", lambda value: type(value) in (int, float) and abs(value) <= 1e30
_NOTHING = _one_of(None)
_SIZES = _either(_SIZE, _pair(_SIZE))
_POOLED = _either(_SIZE, _NOTHING)
_UNIT_AXIS: Rule = "an axis behind the batch", lambda value: type(value) is int and value != 0 and abs(value) <= 4

# What every operation without weights may be told; a setting that is left out has torch's default.
_UNITWISE: dict[str, Rule] = {
    "negative_slope": _NUMBER,
    "alpha": _NUMBER,
    "beta": _NUMBER,
    "threshold": _NUMBER,
    "approximate": _one_of("none", "tanh"),
    "p": ("a share from 0 to 1", lambda value: type(value) in (int, float) and 0 <= value <= 1),
    "kernel_size": _SIZES,
    "stride": _SIZES,
    "padding": _either(_whole(0), _pair(_whole(0))),
    "dilation": _SIZES,
    "ceil_mode": _YES_NO,
    "count_include_pad": _YES_NO,
    "divisor_override": _either(_SIZE, _NOTHING),
    "output_size": _either(_POOLED, _pair(_POOLED)),
}

_RECURRENT: dict[str, Rule] = {"input_size": _SIZE, "hidden_size": _SIZE, "bias": _YES_NO}

# What the other operations must be told, in full.
_REQUIRED: dict[str, dict[str, Rule]] = {
    "add": {},
    "mul": {},
    "cat": {"dim": _one_of(1, -1)},
    "flatten": {"positions": _either(_SIZE, _NOTHING)},
    "squeeze": {"dim": _UNIT_AXIS},
    "softmax": {"dim": _UNIT_AXIS},
    "linear": {"in_features": _SIZE, "out_features": _SIZE, "bias": _YES_NO},
    "conv2d": {
        "in_channels": _SIZE,
        "out_channels": _SIZE,
        "groups": _SIZE,
        "kernel_size": _pair(_SIZE),
        "stride": _pair(_SIZE),
        "padding": _either(_one_of("same", "valid"), _pair(_whole(0))),
        "dilation": _pair(_SIZE),
        "bias": _YES_NO,
    },
    "group_norm": {
        "num_channels": _SIZE,
        "num_groups": _SIZE,
        "eps": ("a finite number from 0", lambda value: type(value) in (int, float) and 0 <= value <= 1e30),
        "affine": _YES_NO,
    },
    "embedding": {"num_embeddings": _SIZE, "embedding_dim": _SIZE, "padding_idx": _either(_whole(0), _NOTHING)},
    "rnn": {**_RECURRENT, "nonlinearity": _one_of("tanh", "relu")},
    "lstm": _RECURRENT,
    "gru": _RECURRENT,
    "last_step": {},
}

# What they may be told besides.
_OPTIONAL: dict[str, dict[str, Rule]] = {"embedding": {"sliced": _YES_NO}}

# Sizes that must divide one another: (what is divided, by what).
_DIVISIBLE = {
    "conv2d": (("in_channels", "groups"), ("out_channels", "groups")),
    "group_norm": (("num_channels", "num_groups"),),
}


def check_settings(name: str, op: str, config: Mapping[str, Any], allowed: tuple[str, ...] | None) -> None:
    """Refuse settings that the operation does not have, lacks, or cannot have with that value.

    Args:
        name: the operation's name, for the error.
        op: what it is.
        config: its settings.
        allowed: a unit-wise operation's settings, each of them optional; None for every other operation.

    Raises:
        SlicingError: naming the operation and the setting.
    """
    rules = _REQUIRED[op] if allowed is None else {key: _UNITWISE[key] for key in allowed}
    missing = [key for key in rules if key not in config and allowed is None]
    if missing:
        raise SlicingError(f"{name}: the settings of {op} lack {missing}; it takes {list(rules)}")
    rules = rules | _OPTIONAL.get(op, {})
    for key, value in config.items():
        if key not in rules:
            raise SlicingError(f"{name}: {op} has no setting {key!r}; it takes {list(rules)}")
        words, fits = rules[key]
        if not fits(value):
            raise SlicingError(f"{name}: {key} of {op} must be {words}, got {value!r}")
    for divided, by in _DIVISIBLE.get(op, ()):
        if config[divided] % config[by]:
            raise SlicingError(f"{name}: {divided} {config[divided]} of {op} must be a multiple of {by} {config[by]}")
    padding_idx = config.get("padding_idx")
    if padding_idx is not None and padding_idx >= config["num_embeddings"]:
        raise SlicingError(f"{name}: padding_idx {padding_idx} of {op} must be below {config['num_embeddings']}")
