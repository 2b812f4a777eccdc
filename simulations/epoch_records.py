"""Numbers kept of every epoch of a training, beside its checkpoint, so that a resumed run has them all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from slicing import SlicingError
from slicing.files import atomic_path


class EpochRecords:
    """Measures the network after each epoch and writes what it found at once.

    Args:
        path: the file, JSON.
        measure: from the network to anything that JSON can hold.
        resume: keep what the file has; otherwise begin anew.

    Raises:
        SlicingError: when the file to resume from can't be read.
    """

    def __init__(self, path: Path, measure: Callable[[nn.Module], Any], resume: bool) -> None:
        self._path, self._measure = path, measure
        self._found: dict[str, Any] = {}
        if resume and path.exists():
            try:
                self._found = dict(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, OSError) as error:
                raise SlicingError(f"{path} can't be read ({error}); run without --resume") from error

    def __call__(self, epoch: int, network: nn.Module) -> None:
        """Measure after this epoch, counted from 0; an epoch done again replaces what was found before."""
        self._found[str(epoch)] = self._measure(network)
        with atomic_path(self._path) as temporary:
            temporary.write_text(json.dumps(self._found), encoding="utf-8")

    def of(self, epochs: int) -> list[Any]:
        """What was found, epoch by epoch.

        Raises:
            SlicingError: when an epoch is missing: the checkpoint is of another run than the file.
        """
        missing = [epoch + 1 for epoch in range(epochs) if str(epoch) not in self._found]
        if missing:
            raise SlicingError(f"{self._path} lacks epochs {missing} of its checkpoint; run without --resume")
        return [self._found[str(epoch)] for epoch in range(epochs)]
