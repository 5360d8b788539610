"""The rule of the diagnosis, on made-up numbers."""

import math

import pytest

from tests.studies.diagnosed import regime_from


def wide(*values, seeds=6, spread=0.02):
    """Numbers of seeds around these, at widths 64, 256, ..."""
    return {64 * 4**i: [v * (1 + spread * (s - 2.5)) for s in range(seeds)] for i, v in enumerate(values)}


def test_kernel_where_all_is_below():
    found = regime_from(kernel_constant=wide(0.3, 0.05, 0.02), linearization_gap=wide(0.2, 0.08, 0.01))
    assert found.name == "kernel"
    assert "from width 256 on" in found.sentence


@pytest.mark.parametrize(
    "numbers",
    [
        {"kernel_constant": wide(0.3, 0.097)},  # its interval contains the limit
        {"kernel_constant": wide(0.01, 0.01), "linearization_gap_test": wide(0.3, 0.2)},
        {"kernel_constant": wide(0.9, 0.45)},  # falls as theory says
        {"kernel_constant": wide(0.6, 0.4)},  # not rich at every width
        {"kernel_constant": wide(0.01, 0.01), "stable": wide(1.3, 1.4)},
    ],
)
def test_mixed_is_what_is_neither(numbers):
    assert regime_from(**numbers).name == "mixed"


def test_feature_learning_is_large_at_every_width_and_does_not_fall():
    found = regime_from(kernel_constant=wide(2.0, 2.1, 1.9))
    assert found.name == "feature learning"
    assert "extrapolated" not in found.sentence
    assert regime_from(kernel_constant={64: [0.9]}).name == "feature learning"
    assert "single seed" in regime_from(kernel_constant={64: [0.9]}).sentence
    assert regime_from(kernel_constant=wide(0.2, 0.2), linearization_gap=wide(0.8, 0.9)).name == "feature learning"
    assert (
        regime_from(kernel_constant=wide(2.0, 0.6, seeds=2)).name == "mixed"
    )  # medians fall, without an interval


@pytest.mark.parametrize(
    "few", [{"learned": wide(0.5, 0.05)}, {"moved": wide(0.5, 0.02)}, {"learned": wide(0.5, 0.1)}]
)
def test_what_was_not_trained_is_never_in_the_kernel_regime(few):
    found = regime_from(kernel_constant=wide(1e-6, 1e-6), **few)
    assert found.name == "not trained enough"
    assert "cannot be told" in found.sentence


def test_a_diverged_training_says_so_with_its_step():
    diverged = {64: [-math.inf] * 5, 256: [-math.inf] * 5}
    found = regime_from(kernel_constant=wide(1, 1), learned=diverged, stable=wide(1.5, 1.5))
    assert found.name == "not trained enough"
    assert "training diverged, and the step is 1.5" in found.sentence
    assert found.sentence.startswith("Training diverged: ")
    grown = regime_from(kernel_constant=wide(1, 1), learned=diverged, stable=wide(math.nan, math.nan))
    assert "take a smaller step" in grown.sentence
    lost = regime_from(kernel_constant=wide(1, 1), learned=diverged, linearization_gap={64: [1.0], 256: [1.0]})
    assert "single seed" not in lost.sentence


def test_an_extrapolated_width_is_a_bracket_within_reach():
    falling = {w: [1.05 * (w / 64) ** -0.5 * (1 + 0.003 * s) for s in range(6)] for w in (64, 256, 1024, 4096)}
    found = regime_from(kernel_constant=falling)
    assert found.name == "mixed"
    assert "extrapolated, the kernel regime would hold from width" in found.outlook
    late = {w: [0.13 * (w / 64) ** -0.5 * (1 + 0.1 * (s - 2.5)) for s in range(6)] for w in falling}
    beside = {w: [0.1 * (w / 4096) ** -0.5 * (1 + 0.01 * (s - 2.5)) for s in range(6)] for w in falling}
    found = regime_from(kernel_constant=late, linearization_gap=beside)
    assert found.name == "mixed"
    assert "would hold from width 4096 [4096, " in found.outlook  # of a number that is inconclusive there
    floor = {w: [0.2 + v for v in values] for w, values in falling.items()}
    assert "cannot be told: a floor" in regime_from(kernel_constant=floor).outlook
