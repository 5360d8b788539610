"""The expansions of likelihoods against autograd, and which likelihood targets ask for."""

import pytest
import torch
from torch.nn import functional as F

from ntkgap.errors import DataError, KernelError, ModelError
from ntkgap.linalg.likelihoods import (
    are_one_hot,
    are_probabilities,
    bernoulli,
    categorical,
    choose_likelihood,
    gaussian,
)
from tests.tolerances import EXACT


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


ONE_HOT = tensor([1, 0, 0], [0, 0, 1])
SOFT = tensor([0.2, 0.3, 0.5], [1, 0, 0])
REAL = tensor([0.2, -1.3], [4.0, 2.0])
SIGNS, BITS, SHARES = tensor([-1], [1]), tensor([0], [1]), tensor([0.25], [0.75])
TWO = tensor([1, 0], [0, 1])


@pytest.mark.parametrize("kind", ["gaussian", "categorical", "bernoulli"])
def test_expansions_are_the_derivatives_of_the_log_likelihood(kind):
    generator = torch.Generator().manual_seed(0)
    c = 1 if kind == "bernoulli" else 3
    f = torch.randn(4, c, dtype=torch.float64, generator=generator)
    y = torch.rand(4, c, dtype=torch.float64, generator=generator)
    y = y / y.sum(1, keepdim=True) if kind == "categorical" else y
    noise = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
    found = {"gaussian": lambda: gaussian(f, y, noise), "categorical": lambda: categorical(f, y)}.get(
        kind, lambda: bernoulli(f, y)
    )()

    def log_likelihood(f):
        if kind == "gaussian":
            return torch.distributions.Normal(f, noise.sqrt()).log_prob(y).sum()
        if kind == "categorical":
            return torch.distributions.Categorical(logits=f).logits.mul(y).sum()
        return -F.binary_cross_entropy_with_logits(f, y, reduction="sum")

    assert found.log_likelihood == pytest.approx(float(log_likelihood(f)), rel=EXACT)
    slope = torch.autograd.functional.jacobian(log_likelihood, f)
    torch.testing.assert_close(torch.einsum("nba,nb->na", found.root, found.slope), slope, rtol=EXACT, atol=EXACT)
    curvature = -torch.autograd.functional.hessian(log_likelihood, f).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    torch.testing.assert_close(found.root.mT @ found.root, curvature, rtol=EXACT, atol=EXACT)


def test_a_gaussian_without_noise_has_that_of_variance_one(generator):
    f, y = (torch.randn(4, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    plain, ones = gaussian(f, y), gaussian(f, y, torch.ones(3))
    assert plain.root is None
    expected = torch.distributions.Normal(f, 1).log_prob(y).sum()
    assert plain.log_likelihood == pytest.approx(float(expected), rel=EXACT)
    torch.testing.assert_close(plain.slope, ones.slope, rtol=EXACT, atol=0)


@pytest.mark.parametrize("trailing", [(), (5,), (2, 3)], ids=str)
def test_whitening_multiplies_by_the_root(generator, trailing):
    f, y = torch.randn(2, 3, dtype=torch.float64, generator=generator), SOFT
    values = torch.randn(2, 3, *trailing, dtype=torch.float64, generator=generator)
    for found in (categorical(f, y), gaussian(f, y, torch.tensor([0.3, 1.0, 2.0]))):
        for i in range(2):
            expected = found.root[i] @ values[i].reshape(3, -1)
            torch.testing.assert_close(found.whiten(values)[i].reshape(3, -1), expected, rtol=EXACT, atol=EXACT)
    assert torch.equal(gaussian(f, y).whiten(values), values)


@pytest.mark.parametrize("size", [40.0, 1e4])
def test_sure_networks_have_finite_expansions(size):
    """Probabilities underflow; what is left of slope and curvature still is that of the likelihood."""
    f, y = size * tensor([1, 0, -1], [1, 0, -1]), ONE_HOT
    found = categorical(f, y)
    assert found.log_likelihood == pytest.approx(-2 * size)  # the first is right, the second off by 2·size
    slope = torch.einsum("nba,nb->na", found.root, found.slope)
    torch.testing.assert_close(slope, y - F.softmax(f, dim=1), rtol=0, atol=EXACT)
    alone = bernoulli(size * SIGNS, tensor([1], [1]))
    assert alone.log_likelihood == pytest.approx(-size)
    torch.testing.assert_close(alone.root[:, 0] * alone.slope, tensor([1], [0]), rtol=0, atol=EXACT)


@pytest.mark.parametrize(
    ("targets", "probabilities", "one_hot"),
    [
        (ONE_HOT, True, True),
        (SOFT, True, False),
        (REAL, False, False),
        (tensor([1.5, -0.5]), False, False),
        (tensor([0.5, 0.4]), False, False),
        (tensor([0.50003, 0.5]), True, False),  # rounding of float32 is forgiven
        (tensor([1, 1], [0, 0]), False, False),
        (tensor([1], [1]), True, False),  # one column names no class
    ],
    ids=lambda value: str(value.tolist()) if torch.is_tensor(value) else str(value),
)
def test_what_counts_as_probabilities_and_as_one_hot(targets, probabilities, one_hot):
    assert are_probabilities(targets) is probabilities
    assert are_one_hot(targets) is one_hot


@pytest.mark.parametrize(
    ("name", "targets", "n_classes", "outputs", "expected", "as_taken"),
    [
        (None, REAL, None, 2, "gaussian", REAL),
        (None, SIGNS, None, 1, "gaussian", SIGNS),
        (None, SOFT, None, 3, "gaussian", SOFT),  # nothing says that these are classes
        (None, SOFT, 3, 3, "categorical", SOFT),
        (None, ONE_HOT, None, 3, "categorical", ONE_HOT),
        (None, TWO, None, 2, "categorical", TWO),
        (None, TWO, None, 1, "bernoulli", TWO[:, 1:]),
        (None, SIGNS, 2, 1, "bernoulli", BITS),
        (None, ONE_HOT, None, 1, "categorical", ONE_HOT),  # three classes are none of one output
        ("gaussian", ONE_HOT, 3, 3, "gaussian", ONE_HOT),
        ("bernoulli", SIGNS, None, 1, "bernoulli", BITS),
        ("bernoulli", BITS, None, 1, "bernoulli", BITS),
        ("bernoulli", SHARES, None, 1, "bernoulli", SHARES),
        ("bernoulli", tensor([1], [1]), None, 1, "bernoulli", tensor([1], [1])),
        ("categorical", SOFT, None, 3, "categorical", SOFT),
    ],
)
def test_which_likelihood_is_meant(name, targets, n_classes, outputs, expected, as_taken):
    found, y = choose_likelihood(name, targets.float(), n_classes, outputs)
    assert found == expected
    assert y.dtype == torch.float64
    torch.testing.assert_close(y, as_taken.float().double(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "targets", "outputs", "error", "words"),
    [
        ("poisson", REAL, 2, KernelError, "unknown likelihood 'poisson'; choose one of gaussian, categ"),
        ("bernoulli", BITS, 3, ModelError, "of one output, but the network has 3; use 'categorical'"),
        ("bernoulli", REAL, 1, DataError, "'bernoulli' needs targets in one column"),
        ("bernoulli", REAL[:, :1], 1, DataError, "'bernoulli' needs targets in one column"),
        ("bernoulli", tensor([-0.5], [0.5]), 1, DataError, "'bernoulli' needs targets in one column"),
        ("bernoulli", ONE_HOT, 1, DataError, "'bernoulli' needs targets in one column"),
        ("categorical", REAL, 2, DataError, "'categorical' needs targets that are one-hot or probabilities"),
        ("categorical", tensor([1], [1]), 1, DataError, "'categorical' needs targets that are one-hot or prob"),
    ],
)
def test_targets_that_do_not_fit_are_named(name, targets, outputs, error, words):
    with pytest.raises(error, match=words):
        choose_likelihood(name, targets, None, outputs)
