"""The one error this package raises on bad input."""


class SlicingError(ValueError):
    """Bad input to a sliced network: says the rule, the value received and the remedy."""
