"""The one error of this package."""


class ReportError(ValueError):
    """A report that breaks the contract, or a folder that can't take it: the rule, the value, the remedy."""
