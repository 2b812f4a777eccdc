"""The paper's own figures: section 5.4.4, Table 4 (cascade of six widths), Figure 9 (inclusion of errors).

Cai et al. 2019, "Model Slicing for Supporting Complex Analytics with Elastic Inference Cost": VGG-13 on
CIFAR-10, 10,000 test images, 1,000 a class. FLOPs count one multiply-add as one. Transcribed digit by digit;
what does not fit stays as printed and is said in `NOTES`.
"""

from typing import TypedDict


class PaperSystem(TypedDict):
    """One half of Table 4: precision of each stage alone (shares) and items kept by every stage up to it."""

    name: str
    beside: str
    precision: list[float]
    kept: list[int]
    params_held_m: float
    flops_per_kept_item_m: float


class PaperInclusion(TypedDict):
    """One matrix of Figure 9: symmetric, rates rising on both axes."""

    name: str
    beside: str
    rates: list[float | None]
    matrix: list[list[float | None]]


class PaperFigures(TypedDict):
    """What a report carries under `paper`."""

    source: str
    setting: str
    items: int
    rates: list[float]
    params_m: list[float]
    flops_m: list[float]
    systems: list[PaperSystem]
    inclusion: list[PaperInclusion]
    notes: list[str]


SOURCE = "Cai et al. 2019, Model Slicing, section 5.4.4: Table 4 and Figure 9"
SETTING = "VGG-13, CIFAR-10 test set (10,000 images)"
ITEMS = 10_000

RATES = [0.375, 0.5, 0.625, 0.75, 0.875, 1.0]
PARAMS_M = [1.33, 2.36, 3.68, 5.30, 7.21, 9.42]
FLOPS_M = [32.66, 57.70, 89.82, 129.01, 175.29, 222.64]

CASCADE_PRECISION = [0.9285, 0.9339, 0.9379, 0.9392, 0.9411, 0.9437]
CASCADE_KEPT = [9285, 9017, 8866, 8749, 8676, 8609]
CASCADE_PARAMS_M = 29.30
CASCADE_FLOPS_M = 707.12

SLICING_PRECISION = [0.9138, 0.9256, 0.9388, 0.9422, 0.9416, 0.9435]
SLICING_KEPT = [9138, 8985, 8909, 8875, 8868, 8867]
SLICING_PARAMS_M = 9.42
SLICING_FLOPS_M = 222.64

# Figure 9 prints its rows and columns from 1.0000 down to 0.3750 (in (b) the two widest, nearly equal
# networks stand top left). Here as printed; `_rising` turns both axes round.
_FIXED_AS_PRINTED = [
    [1.000, 0.605, 0.579, 0.591, 0.589, 0.598],
    [0.605, 1.000, 0.597, 0.582, 0.602, 0.615],
    [0.579, 0.597, 1.000, 0.561, 0.595, 0.581],
    [0.591, 0.582, 0.561, 1.000, 0.611, 0.585],
    [0.589, 0.602, 0.595, 0.611, 1.000, 0.589],
    [0.598, 0.615, 0.581, 0.585, 0.589, 1.000],
]
_SLICED_AS_PRINTED = [
    [1.000, 0.969, 0.939, 0.867, 0.800, 0.749],
    [0.969, 1.000, 0.938, 0.872, 0.798, 0.754],
    [0.939, 0.938, 1.000, 0.867, 0.797, 0.759],
    [0.867, 0.872, 0.867, 1.000, 0.806, 0.774],
    [0.800, 0.798, 0.797, 0.806, 1.000, 0.791],
    [0.749, 0.754, 0.759, 0.774, 0.791, 1.000],
]

# Convolutions and classifier of the architecture that the other five widths fit (within 0.5%), plus the same
# small surplus that the paper's own figures carry at those widths.
FULL_FLOPS_M_FITTED = 228.6

NOTES = [
    "At rate 1.0 the paper prints 222.64M FLOPs; the architecture that gives its other five widths within "
    f"0.5% needs {FULL_FLOPS_M_FITTED}M. The printed total of 707.12M carries the 222.64M.",
    "The paper gives its sliced cascade as “close to 222.64M” FLOPs per item. That is an upper bound: with "
    "reuse in every layer the increments over the six widths sum to 0.61 of one full-width pass.",
]


def _rising(as_printed: list[list[float]]) -> list[list[float | None]]:
    return [list(reversed(row)) for row in reversed(as_printed)]


def paper_figures() -> PaperFigures:
    """Everything above, as a report carries it under `paper`.

    `beside` is the beginning of the names of our systems that a printed row stands beside: `separate`, or
    `sliced` for `sliced-nested` and `sliced-dense`.
    """
    return {
        "source": SOURCE,
        "setting": SETTING,
        "items": ITEMS,
        "rates": list(RATES),
        "params_m": list(PARAMS_M),
        "flops_m": list(FLOPS_M),
        "systems": [
            {
                "name": "model slicing",
                "beside": "sliced",
                "precision": list(SLICING_PRECISION),
                "kept": list(SLICING_KEPT),
                "params_held_m": SLICING_PARAMS_M,
                "flops_per_kept_item_m": SLICING_FLOPS_M,
            },
            {
                "name": "model cascade",
                "beside": "separate",
                "precision": list(CASCADE_PRECISION),
                "kept": list(CASCADE_KEPT),
                "params_held_m": CASCADE_PARAMS_M,
                "flops_per_kept_item_m": CASCADE_FLOPS_M,
            },
        ],
        "inclusion": [
            {
                "name": "model slicing (lb 0.375)",
                "beside": "sliced",
                "rates": list(RATES),
                "matrix": _rising(_SLICED_AS_PRINTED),
            },
            {
                "name": "fixed models",
                "beside": "separate",
                "rates": list(RATES),
                "matrix": _rising(_FIXED_AS_PRINTED),
            },
        ],
        "notes": list(NOTES),
    }
