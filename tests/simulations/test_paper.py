"""The transcription of Table 4 and Figure 9, held to the sums that the paper itself states."""

import pytest

from simulations import paper


def test_parameters_of_the_separate_models_sum_to_the_printed_total() -> None:
    assert sum(paper.PARAMS_M) == pytest.approx(1.33 + 2.36 + 3.68 + 5.30 + 7.21 + 9.42)
    assert sum(paper.PARAMS_M) == pytest.approx(paper.CASCADE_PARAMS_M, abs=1e-9)


def test_flops_of_the_separate_models_sum_to_the_printed_total() -> None:
    assert sum(paper.FLOPS_M) == pytest.approx(paper.CASCADE_FLOPS_M, abs=1e-9)


def test_first_stage_keeps_what_it_classifies_correctly() -> None:
    # 92.85% and 91.38% of 10,000 items
    assert paper.CASCADE_KEPT[0] == round(paper.CASCADE_PRECISION[0] * 10_000) == 9285
    assert paper.SLICING_KEPT[0] == round(paper.SLICING_PRECISION[0] * 10_000) == 9138


@pytest.mark.parametrize("name", ["model slicing", "model cascade"])
def test_kept_counts_fall_and_never_exceed_the_stage_alone(name: str) -> None:
    system = next(s for s in paper.paper_figures()["systems"] if s["name"] == name)
    assert system["kept"] == sorted(system["kept"], reverse=True)
    for kept, precision in zip(system["kept"], system["precision"], strict=True):
        assert kept <= round(precision * paper.ITEMS)


def test_printed_ends_of_the_two_cascades() -> None:
    ends = {s["name"]: s["kept"][-1] for s in paper.paper_figures()["systems"]}
    assert ends == {"model slicing": 8867, "model cascade": 8609}


@pytest.mark.parametrize("index", [0, 1])
def test_inclusion_is_symmetric_with_a_unit_diagonal(index: int) -> None:
    inclusion = paper.paper_figures()["inclusion"][index]
    matrix = inclusion["matrix"]
    assert len(matrix) == len(inclusion["rates"]) == 6
    for i in range(6):
        assert matrix[i][i] == 1.0
        for j in range(6):
            assert matrix[i][j] == matrix[j][i]


def test_inclusion_rates_rise() -> None:
    sliced, fixed = (i["matrix"] for i in paper.paper_figures()["inclusion"])
    # 0.969 belongs to the two widest, 0.749 to the narrowest with the widest, 0.791 to the two narrowest.
    assert (sliced[4][5], sliced[0][5], sliced[0][1]) == (0.969, 0.749, 0.791)
    assert (fixed[4][5], fixed[0][5], fixed[0][1]) == (0.605, 0.598, 0.589)


def test_full_width_flops_that_fit_the_architecture() -> None:
    # Table 1: pairs of 3x3 convolutions of 64 to 512 channels at 32, 16, 8, 4, 2 pixels; 10 classes.
    def flops_m(rate: float) -> float:
        total, channels_in = 0.0, 3.0
        for channels, pixels in [(64, 32), (128, 16), (256, 8), (512, 4), (512, 2)]:
            for _ in range(2):
                total += 9 * channels_in * channels * rate * pixels**2
                channels_in = channels * rate
        return (total + channels_in * 10) / 1e6

    for rate, printed in zip(paper.RATES[:-1], paper.FLOPS_M[:-1], strict=True):
        assert flops_m(rate) == pytest.approx(printed, rel=0.005)
    assert flops_m(1.0) == pytest.approx(paper.FULL_FLOPS_M_FITTED, rel=0.002)
    assert flops_m(1.0) != pytest.approx(paper.FLOPS_M[-1], rel=0.02)


def test_figures_are_a_copy() -> None:
    paper.paper_figures()["rates"].append(2.0)
    assert paper.paper_figures()["rates"][-1] == 1.0
