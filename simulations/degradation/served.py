"""What became of every request, whichever way it was served."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

SHED = -1
"""The stage of a request that was not scored."""


@dataclass(frozen=True)
class Served:
    """One entry per request, in the order of arrival; times in seconds from the trace's start.

    Attributes:
        arrived: when it came.
        begun, finished: when the scoring of its batch was begun and done; NaN for a request that was shed.
        delivered: when its answer was handed over, a little after `finished` where the clock is a real one; NaN too.
        stage: that scored it; `SHED` for one that was shed.
        scored: share of its images that were scored; 0 for one that was shed.
        right: share of its images that were scored and classified correctly.
    """

    arrived: NDArray[np.float64]
    begun: NDArray[np.float64]
    finished: NDArray[np.float64]
    delivered: NDArray[np.float64]
    stage: NDArray[np.int64]
    scored: NDArray[np.float64]
    right: NDArray[np.float64]

    def frame(self) -> pl.DataFrame:
        """A row per request."""
        return pl.DataFrame(vars(self))

    @classmethod
    def of_frame(cls, frame: pl.DataFrame) -> "Served":
        """What `frame` wrote."""
        return cls(**{name: frame[name].to_numpy() for name in cls.__dataclass_fields__})
