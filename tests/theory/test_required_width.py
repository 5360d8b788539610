import math

import mpmath
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError, KernelError
from ntkgap.theory import hidden_layer_limit, required_width
from tests.tolerances import EXACT


def unit_vectors(n, d, generator):
    return torch.nn.functional.normalize(torch.randn(n, d, dtype=torch.float64, generator=generator), dim=1)


def widths(x, **options):
    return {b.name: b.width for b in required_width(x, **options).bounds}


def test_the_limit_is_the_infinite_width_kernel_of_the_shallow_net(generator):
    x = unit_vectors(7, 5, generator)
    limit = ng.infinite_width(ng.models.ShallowNet(5, 8).double()).ntk(x)
    torch.testing.assert_close(hidden_layer_limit(x), limit, rtol=EXACT, atol=EXACT)


def test_the_limit_is_the_mean_over_random_weights(generator):
    x = unit_vectors(6, 4, generator)
    samples = 200_000
    active = (torch.randn(samples, 4, dtype=torch.float64, generator=generator) @ x.T >= 0).double()
    means = active.T @ active / samples
    errors = (means * (1 - means) / samples).sqrt()
    gram = x @ x.T
    assert ((hidden_layer_limit(x) - gram * means).abs() <= 5 * gram.abs() * errors).all()


def test_the_limit_of_close_inputs_keeps_its_digits():
    """Two unit vectors at an angle of 1e-9: H∞ has the eigenvalue (½ − H_12), of order 1e-10."""
    angle = 1e-9
    x = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    found = hidden_layer_limit(x)
    exact = 0.5 - math.cos(angle) * (math.pi - angle) / (2 * math.pi)
    assert float(found[0, 0] - found[0, 1]) == pytest.approx(exact, rel=1e-5)
    assert required_width(x).lambda_min == pytest.approx(exact, rel=1e-5)


def test_published_orders_of_magnitude():
    """1000 random unit vectors in 784 dimensions, δ = 0.1, as computed elsewhere."""
    x = unit_vectors(1000, 784, torch.Generator().manual_seed(1))
    found = required_width(x, delta=0.1)
    by_name = {b.name: b.width for b in found.bounds}
    assert found.lambda_min == pytest.approx(0.241, abs=2e-3)
    assert by_name["Du et al. 2019a"] == pytest.approx(3e23, rel=0.05)
    assert by_name["Zhang et al. 2019"] == pytest.approx(3e17, rel=0.05)
    assert by_name["Munteanu et al. 2022"] == pytest.approx(1.7e7, rel=0.05)


def test_every_bound_on_orthogonal_inputs():
    """Orthonormal inputs: λ0 = ½, φ = √2, ‖X‖ = 1, so that every width is a number known by hand."""
    found = widths(torch.eye(4, dtype=torch.float64), nu=0.5, delta=0.2, depth=3)
    expected = {
        "Du et al. 2019a": 4**6 * 16 / 0.008,
        "Zhang et al. 2019": 4**4 * 4 * 16 / 0.008,
        "Song & Yang 2019": 8.0**4,
        "Munteanu et al. 2022": 64.0,
        "Oymak & Soltanolkotabi 2020": 64.0,
        "Allen-Zhu et al. 2019": 4.0**24 * 3**12 / 16,
        "Zou & Gu 2019": 4.0**8 * 3**12 / 4,
        "Du et al. 2019b": 8 * 8.0**4,
        "Nguyen 2021, linear": 4.0,
        "Nguyen 2021, cubic": 64.0,
        "Bombari et al. 2022": 2.0,
    }
    assert found == pytest.approx(expected, rel=EXACT)


def test_each_term_of_the_deep_bound_counts_where_it_is_largest():
    x = torch.eye(4, dtype=torch.float64)
    assert widths(x, delta=1e-5)["Du et al. 2019b"] == pytest.approx(2 * 4e5)


def test_the_norm_of_inputs_does_not_matter_and_is_told(generator):
    x = unit_vectors(5, 3, generator)
    scaled = x * torch.tensor([[1.0], [2.0], [0.1], [30.0], [1.0]])
    assert widths(scaled) == pytest.approx(widths(x), rel=1e-8)
    assert required_width(x).notes == ()
    assert "norms were 0.1 to 30" in required_width(scaled).notes[0]


def test_single_precision_inputs_that_are_proportional_are_duplicates(generator):
    x = torch.randn(6, 50, generator=generator)
    x[4] = x[1] * 3
    x[5] = x[1] / 7
    with pytest.raises(KernelError, match=r"rows 1 = 4 = 5"):
        required_width(x)


def test_opposite_inputs_are_no_obstacle():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert torch.equal(hidden_layer_limit(x), 0.5 * torch.eye(2, dtype=torch.float64))
    assert required_width(x).lambda_min == pytest.approx(0.5)


def test_below_the_floor_is_inconclusive():
    """Three opposite pairs in a plane: φ(x) − φ(−x) = x, and three vectors in a plane are dependent."""
    x = unit_vectors(3, 2, torch.Generator().manual_seed(0))
    found = required_width(torch.cat([x, -x]))
    assert math.isnan(found.lambda_min)
    assert "inconclusive" in found.notes[-1]
    by_name = {b.name: b for b in found.bounds}
    for bound in found.bounds:
        assert math.isnan(bound.width) == ("λ0" in bound.formula)
    assert by_name["Zou & Gu 2019"].width > 0


def test_lambda_min_agrees_with_fifty_digits(generator):
    x = unit_vectors(8, 3, generator)
    x[7] = torch.nn.functional.normalize(x[6] + 1e-7 * x[0], dim=0)
    with mpmath.workdps(50):
        rows = [[mpmath.mpf(v) for v in row] for row in x.tolist()]
        rows = [[v / mpmath.sqrt(mpmath.fdot(row, row)) for v in row] for row in rows]

        def entry(a, b):
            c = min(mpmath.fdot(a, b), mpmath.mpf(1))
            return c * (mpmath.pi - mpmath.acos(c)) / (2 * mpmath.pi)

        gram = mpmath.matrix([[entry(a, b) for b in rows] for a in rows])
        exact = float(min(mpmath.eigsy(gram, eigvals_only=True)))
    found = required_width(x)
    assert abs(found.lambda_min - exact) <= found.noise_floor


def test_the_text_says_how_far_it_can_be_trusted():
    text = str(required_width(2 * torch.eye(3), depth=2))
    assert "every constant is taken as 1, and logarithms are dropped" in text
    assert "Inputs were scaled to unit norm" in text
    assert "λ0 = 0.5" in text
    assert "Zhang et al. 2019" in text


@pytest.mark.parametrize(
    ("x", "options", "words"),
    [
        (torch.eye(3), {"nu": 0.0}, "nu must be positive"),
        (torch.eye(3), {"delta": 1.0}, "below 1"),
        (torch.eye(3), {"delta": float("nan")}, "delta must be positive"),
        (torch.eye(3), {"depth": 0}, "depth must be an integer"),
        (torch.eye(3), {"depth": 1.5}, "depth must be an integer"),
        (torch.ones(1, 3), {}, "at least two"),
        (torch.tensor([[1, 0], [0, 1]]), {}, "floating-point"),
        (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), {}, "input 1 is zero"),
        (torch.tensor([[1.0, 0.0], [0.0, float("inf")]]), {}, "input 1 is zero or not finite"),
    ],
)
def test_bad_inputs_are_named(x, options, words):
    with pytest.raises(DataError, match=words):
        required_width(x, **options)
