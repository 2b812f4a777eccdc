"""The one error that bad input to the cascade ends in."""


class CascadeError(ValueError):
    """Bad input to the cascade: one line with the rule, the value received and the remedy."""


class ConformanceError(CascadeError, AssertionError):
    """A scorer breaks the protocol: which promise, at which stage, by how much."""
