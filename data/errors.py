"""The one error of this package."""


class DataError(ValueError):
    """Data that cannot be used: says the rule, the value received and the remedy, in one line."""
