"""Read NumPy arrays out of a pickle without running anything that the pickle asks for.

CIFAR's original files are pickles, and a pickle is a program. Here the few globals that such files name are
answered with stand-ins that only record their arguments; any other global is refused before it is looked up.
The arrays are built afterwards, from the recorded bytes, under this module's own checks.
"""

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import DataError


class _Array:
    """Records the state of a pickled ndarray: (version, shape, dtype, Fortran order, bytes)."""

    __slots__ = ("state",)

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Dtype:
    """Records the name of a pickled dtype, such as ``u1``."""

    __slots__ = ("name",)

    def __init__(self, name: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment: without meaning for single bytes, the only type that is accepted."""


class _Global:
    """A global named by the pickle. Calling it records; it has no attributes that a pickle could set."""

    __slots__ = ("_name",)
    _name: str

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"attribute {name!r} of a global set")

    def __call__(self, *arguments: object) -> object:
        if self._name == "_reconstruct":
            return _Array()
        if self._name == "dtype":
            return _Dtype(arguments[0])
        if self._name == "encode" and isinstance(arguments[0], str) and arguments[1:] == ("latin1",):
            return arguments[0].encode("latin1")  # how Python 3 writes bytes in protocol 2
        raise pickle.UnpicklingError(f"unexpected call of {self._name}")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Global:
        if (module, name) not in _ALLOWED:
            raise DataError(f"asks for {module}.{name}, which no file of images needs: not read, it may be hostile")
        return _Global(name)


def read_pickled_dict(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary of built-in containers, strings, numbers and uint8 arrays.

    Keys written by Python 2 (bytes) come back as str. Arrays come back as uint8 arrays that own their memory.

    Raises:
        OSError: the file cannot be read.
        DataError: the file is damaged, is no dictionary, holds arrays other than uint8 in C order, or names
            anything besides NumPy's array reconstruction.
    """
    content = path.read_bytes()
    try:
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{path} {error}") from error
    except Exception as error:  # damaged pickles raise nearly anything, from EOFError to MemoryError
        raise DataError(f"{path} is truncated or damaged ({_first_line(error)}): fetch it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a dictionary, got {type(value).__name__}")
    return {_text(key): _array(item, path) if isinstance(item, _Array) else item for key, item in value.items()}


def _array(recorded: _Array, path: Path) -> np.ndarray:
    state = getattr(recorded, "state", None)
    if not (isinstance(state, tuple) and len(state) == 5):
        raise DataError(f"{path} is truncated or damaged (an array without content): fetch it again")
    _, shape, dtype, fortran, content = state
    if not (isinstance(dtype, _Dtype) and _text(dtype.name) == "u1" and not fortran):
        raise DataError(f"{path}: arrays must be uint8 in C order, got another type or order")
    if not (
        isinstance(shape, tuple)
        and all(isinstance(n, int) and n >= 0 for n in shape)
        and isinstance(content, bytes)
        and math.prod(shape) == len(content)
    ):
        raise DataError(f"{path} is truncated or damaged (an array's shape and bytes disagree): fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape).copy()


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
