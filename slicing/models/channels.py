"""Channel counts of the convolutional networks."""

from slicing.errors import SlicingError


def scaled(channels: int, width: float, groups: int) -> int:
    """``channels`` times the width factor, in whole normalisation groups.

    Raises:
        SlicingError: when the groups do not divide them.
    """
    out = round(channels * width)
    if out < 1 or groups < 1 or out % groups:
        raise SlicingError(
            f"width {width} makes {out} of {channels} channels, which {groups} normalisation groups do not divide; "
            "choose another width or number of groups"
        )
    return out
