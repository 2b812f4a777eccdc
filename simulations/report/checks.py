"""Small checks that compose into a schema; each takes a value and its path and raises `ReportError`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from simulations.report.errors import ReportError

Check = Callable[[Any, str], None]


def _refuse(path: str, wanted: str, got: object) -> ReportError:
    shown = f"{type(got).__name__} {got!r}"
    return ReportError(f"report field {path} must be {wanted}, got {shown[:120]}")


def text(value: Any, path: str) -> None:
    """A string that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise _refuse(path, "text that is not blank", value)


def one_of(*allowed: object) -> Check:
    """One of the given values."""

    def check(value: Any, path: str) -> None:
        # 1 == True == 1.0 in Python, hence the type
        if not any(type(value) is type(a) and value == a for a in allowed):
            raise _refuse(path, " or ".join(repr(a) for a in allowed), value)

    return check


def integer(value: Any, path: str) -> None:
    """A Python integer, not a bool."""
    if type(value) is not int:
        raise _refuse(path, "an integer (convert arrays' elements with int())", value)


def count(value: Any, path: str) -> None:
    """A Python integer of at least 0."""
    if type(value) is not int or value < 0:
        raise _refuse(path, "an integer of at least 0 (convert arrays' elements with int())", value)


def number(value: Any, path: str) -> None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refuse(path, "a finite number (convert arrays' elements with float())", value)


def amount(value: Any, path: str) -> None:
    """A finite number of at least 0."""
    number(value, path)
    if value < 0:
        raise _refuse(path, "at least 0", value)


def rate(value: Any, path: str) -> None:
    """A slice rate, in (0, 1]."""
    number(value, path)
    if not 0 < value <= 1:
        raise _refuse(path, "a slice rate in (0, 1]", value)


def share(value: Any, path: str) -> None:
    """A number in [0, 1]."""
    number(value, path)
    if not 0 <= value <= 1:
        raise _refuse(path, "a share in [0, 1] (not a percentage)", value)


def or_none(check: Check) -> Check:
    """What `check` takes, or None where the quantity is undefined."""
    return lambda value, path: None if value is None else check(value, path)


def items(check: Check) -> Check:
    """A list of one or more, each passing `check`."""
    every = any_items(check)

    def run(value: Any, path: str) -> None:
        if not isinstance(value, list | tuple) or not value:
            raise _refuse(path, "a list with at least one entry", value)
        every(value, path)

    return run


def any_items(check: Check) -> Check:
    """A list, which may be empty, each entry passing `check`."""

    def run(value: Any, path: str) -> None:
        if not isinstance(value, list | tuple):
            raise _refuse(path, "a list", value)
        for index, item in enumerate(value):
            check(item, f"{path}[{index}]")

    return run


def mapping(check: Check) -> Check:
    """A dict from text to what `check` takes, with at least one entry."""

    def run(value: Any, path: str) -> None:
        if not isinstance(value, Mapping) or not value:
            raise _refuse(path, "a mapping with at least one entry", value)
        for key, item in value.items():
            text(key, f"{path} (key)")
            check(item, f"{path}.{key}")

    return run


def record(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """A dict with every `required` field; `optional` ones are checked where present, others left alone."""

    def run(value: Any, path: str) -> None:
        if not isinstance(value, Mapping):
            raise _refuse(path or "(top)", f"a mapping with the fields {', '.join(required)}", value)
        for name, check in required.items():
            where = f"{path}.{name}" if path else name
            if name not in value:
                raise ReportError(f"report field {where} is missing; fields here: {', '.join(map(str, value))}")
            check(value[name], where)
        for name, check in (optional or {}).items():
            if name in value:
                check(value[name], f"{path}.{name}" if path else name)

    return run


def also(first: Check, *then: Check) -> Check:
    """`first`, and once the value has its form the checks across its fields."""

    def run(value: Any, path: str) -> None:
        first(value, path)
        for check in then:
            check(value, path)

    return run


def json_value(value: Any, path: str) -> None:
    """Anything that JSON can carry; NaN and infinities are refused, since JSON has no word for them."""
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _refuse(f"{path} (key)", "text", key)
            json_value(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            json_value(item, f"{path}[{index}]")
    else:
        number(value, path)
