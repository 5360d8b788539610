"""Tokens looked up in random tables, and what is added to them: against one-hot tokens and finite networks."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import DataError, ModelError
from ntkgap.models import NTKLinear
from tests.kernels.infinite.finite_networks import assert_converges
from tests.kernels.infinite.reference import Points
from tests.tolerances import EXACT

GENERATOR = torch.Generator().manual_seed(0)
WORDS, LENGTH = 9, 4
TOKENS = torch.randint(0, WORDS, (5, LENGTH), generator=GENERATOR)
ONE_HOT = F.one_hot(TOKENS, WORDS).double()


class Text(nn.Module):
    """Tokens, something done to their rows, a hidden layer, and a mean over tokens."""

    def __init__(self, change=lambda m, h, ids: h, width: int = 300, **options) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORDS, width, **options)
        self.places = nn.Embedding(LENGTH, width)
        self.learned = nn.Parameter(torch.randn(1, LENGTH + 3, width))
        self.zeros = nn.Parameter(torch.zeros(width))
        self.register_buffer("waves", torch.sin(torch.arange(LENGTH * width).double()).view(LENGTH, width))
        self.hidden, self.out = NTKLinear(width, width, 1.4), NTKLinear(width, 4)
        self.change = change

    def forward(self, ids: Tensor) -> Tensor:
        h = self.change(self, self.tokens(ids), ids)
        return self.out(torch.relu(self.hidden(h)).mean(1))


def tokens() -> Points:
    """One-hot tokens times a matrix of N(0, 1)."""
    return Points.of(ONE_HOT * WORDS**0.5).layer(1.0)


def positions() -> Points:
    """The same matrix for every pair of inputs: 1 where positions are equal."""
    same = torch.eye(LENGTH, dtype=torch.float64).repeat(len(TOKENS), len(TOKENS))
    return Points(same, same, len(TOKENS))


def finish(points: Points) -> Points:
    return points.layer(1.4**2).relu().mean().layer(1.0)


def assert_same(model: nn.Module, expected: Points, ids: Tensor = TOKENS) -> None:
    found = ng.infinite_width(model.double()).kernels(ids, dtype=torch.float64)
    torch.testing.assert_close(found.nngp, expected.nngp, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found.ntk, expected.ntk, rtol=EXACT, atol=EXACT)


def test_a_table_is_a_matrix_on_one_hot_tokens():
    assert_same(Text(), finish(tokens()))
    assert_same(Text(), finish(tokens()), TOKENS.int())
    assert_same(Text(), finish(tokens()), TOKENS.to(torch.uint8).long())

    class OneHot(Text):
        def forward(self, ids):
            return super().forward(ids.argmax(-1))

    found = ng.infinite_width(OneHot().double()).ntk(ONE_HOT)
    torch.testing.assert_close(found, finish(tokens()).ntk, rtol=EXACT, atol=EXACT)


POSITIONS = {
    "an embedding of positions": lambda m, h, ids: h + m.places(torch.arange(LENGTH)),
    "with an axis for the batch": lambda m, h, ids: m.places(torch.arange(LENGTH)[None]) + h,
    "with an axis of its own": lambda m, h, ids: h + m.places(torch.arange(LENGTH)).unsqueeze(0).to(h.dtype),
    "for every example": lambda m, h, ids: h + m.places(torch.arange(LENGTH).expand_as(ids)),
    "of the table itself": lambda m, h, ids: h + m.places.weight,
    "a parameter, sliced": lambda m, h, ids: h + m.learned[:, : h.shape[1]],
    "a parameter without batch": lambda m, h, ids: torch.add(h, m.learned[0, 2 : 2 + LENGTH]),
}


@pytest.mark.parametrize("name", POSITIONS)
def test_learned_positions_are_added_independently(name):
    assert_same(Text(POSITIONS[name]), finish(tokens().plus(positions())))


def test_parameters_that_positions_share():
    """A bias, at zero; a row for all positions; segments by constant indices."""
    n = len(TOKENS)
    every = torch.ones(n * LENGTH, n * LENGTH, dtype=torch.float64)
    bias = Points(0 * every, every, n)
    assert_same(Text(lambda m, h, ids: h + m.zeros), finish(tokens().plus(bias)))
    assert_same(Text(lambda m, h, ids: h - m.learned[:, :1]), finish(tokens().plus(Points(every, every, n))))
    segments = torch.tensor([0, 0, 1, 1])
    same = (segments[:, None] == segments).double().repeat(n, n)
    assert_same(Text(lambda m, h, ids: h + m.places(segments)), finish(tokens().plus(Points(same, same, n))))
    types = Text(lambda m, h, ids: h + m.places(torch.zeros_like(ids)))
    assert_same(types, finish(tokens().plus(Points(every, every, n))))


def test_constants_are_added_as_they_are():
    """Waves in a buffer, and a frozen parameter: their products, averaged over channels, add to Σ alone."""
    model = Text(lambda m, h, ids: h + m.waves)
    products = (model.waves @ model.waves.T / 300).repeat(len(TOKENS), len(TOKENS))
    expected = finish(tokens().plus(Points(products, 0 * products, len(TOKENS))))
    assert_same(model, expected)
    frozen = Text(lambda m, h, ids: h + m.learned[:, :LENGTH])
    frozen.learned.requires_grad_(False)
    rows = frozen.learned[0, :LENGTH].double()
    products = (rows @ rows.T / 300).repeat(len(TOKENS), len(TOKENS))
    assert_same(frozen, finish(tokens().plus(Points(products, 0 * products, len(TOKENS)))))


def test_frozen_tables_are_part_of_the_covariance_alone():
    model = Text(lambda m, h, ids: h + m.places(torch.arange(LENGTH)))
    model.tokens.requires_grad_(False)
    model.places.requires_grad_(False)
    fixed = tokens().plus(positions())
    assert_same(model, finish(Points(fixed.nngp, 0 * fixed.ntk, fixed.n)))


def test_padding_is_zero_and_stays_so():
    expected = tokens()
    kept = (TOKENS.flatten() != 2).double()
    both = kept[:, None] * kept
    assert_same(Text(padding_idx=2), finish(Points(both * expected.nngp, both * expected.ntk, expected.n)))


@pytest.mark.parametrize("std", [1.0, 0.02, 300**-0.5])
def test_customary_scales_of_tables_are_recognized(std):
    model = Text()
    nn.init.normal_(model.tokens.weight, std=std)
    scaled = tokens()
    assert_same(model, finish(Points(std**2 * scaled.nngp, scaled.ntk, scaled.n)))


def test_other_scales_are_asked_for():
    model = Text()
    nn.init.uniform_(model.tokens.weight, -0.2, 0.2)
    with pytest.raises(
        ModelError, match=r"the entries of 'tokens' have a standard deviation of 0\.11\d+ and do not"
    ):
        ng.infinite_width(model).ntk(TOKENS)
    start = {"tokens": ng.models.Initialization(1.0, 0.2 / 3**0.5)}
    found = ng.infinite_width(model.double(), initializations=start).nngp(TOKENS, dtype=torch.float64)
    expected = tokens()
    expected = finish(Points(0.04 / 3 * expected.nngp, expected.ntk, expected.n))
    torch.testing.assert_close(found, expected.nngp, rtol=EXACT, atol=EXACT)
    direct = Text(lambda m, h, ids: torch.relu(h))
    nn.init.uniform_(direct.tokens.weight, -0.1, 0.1)  # of variance 1/300, like one of the customary ones
    for given in ({}, start):
        with pytest.raises(ModelError, match=r"not Gaussian"):  # a uniform entry stays one at any width
            ng.infinite_width(direct, initializations=given).ntk(TOKENS)


class Small(nn.Module):
    """A convolution over embedded tokens and positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tokens, self.places = (
            nn.Embedding(WORDS, width, padding_idx=0),
            nn.Parameter(torch.randn(LENGTH, width)),
        )
        self.hidden, self.out = nn.Conv1d(width, width, 3, padding=1), nn.Linear(width, 4)

    def forward(self, ids: Tensor) -> Tensor:
        h = torch.tanh(self.tokens(ids)) + self.places
        return self.out(F.gelu(self.hidden(h.transpose(1, 2))).mean(2))


def test_finite_networks_converge_to_the_limit():
    assert_converges(Small, TOKENS, 32)


def test_types_of_inputs_and_of_the_arithmetic():
    limit = ng.infinite_width(Text())
    assert limit.ntk(TOKENS).dtype == torch.float32
    double = limit.ntk(TOKENS, dtype=torch.float64)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), limit.ntk(TOKENS), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(limit.ntk(TOKENS[:1], TOKENS), limit.ntk(TOKENS)[:1])
    torch.testing.assert_close(limit.ntk(TOKENS, diagonal=True), limit.ntk(TOKENS).diagonal())
    with pytest.raises(DataError, match=r"float32 or float64, not torch.float16"):
        limit.ntk(TOKENS, dtype=torch.float16)
    with pytest.raises(DataError, match=r"do not go together: torch.int64 and torch.float32"):
        limit.ntk(TOKENS, TOKENS.float())
    with pytest.raises(ModelError, match=r"cannot be followed .*indices"):
        limit.ntk(TOKENS.double())


def test_bytes_that_are_numbers_become_so():
    pixels = torch.randint(0, 256, (3, 6), dtype=torch.uint8, generator=GENERATOR)
    model = nn.Sequential(NTKLinear(6, 5), nn.ReLU(), NTKLinear(5, 1))
    torch.testing.assert_close(ng.infinite_width(model).ntk(pixels), ng.infinite_width(model).ntk(pixels.float()))

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model

        def forward(self, x):
            return self.body(x / 255)

    torch.testing.assert_close(ng.infinite_width(Scaled()).ntk(pixels), ng.infinite_width(model).ntk(pixels / 255))


REFUSED = {
    "twice": (lambda m, h, ids: h + m.tokens(ids.flip(1)), r"uses the weights of .* a second time"),
    "positions twice": (
        lambda m, h, ids: h + m.learned[:, :LENGTH] + m.learned[:, 1 : LENGTH + 1],
        r"a second time",
    ),
    "copied rows": (lambda m, h, ids: h + m.learned[:, torch.arange(LENGTH)], r"a function of parameters"),
    "by function": (lambda m, h, ids: h + F.embedding(torch.arange(LENGTH), m.places.weight), r"of parameters"),
    "through a layer": (lambda m, h, ids: h + m.hidden(m.waves), r"a function of parameters"),
    "shared by channels": (lambda m, h, ids: h + m.learned[0, :LENGTH, :1], r"that several channels share"),
    "rows that overlap": (
        lambda m, h, ids: h + m.learned.flatten()[: 300 + LENGTH - 1].as_strided((LENGTH, 300), (1, 1)),
        r"that several channels share",
    ),
    "as an exponent": (lambda m, h, ids: h ** m.places(torch.arange(LENGTH)), r"no known infinite-width limit"),
    "as weights": (lambda m, h, ids: F.linear(h, m.places(torch.arange(LENGTH))), r"that is not a parameter"),
    "alone": (lambda m, h, ids: m.places(torch.arange(LENGTH)), r"no layer of random weights between"),
    "more axes": (lambda m, h, ids: h.mean(1) + m.learned[:, :1, None], r"changes its shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_followed_is_refused(name):
    change, words = REFUSED[name]

    class Short(Text):
        def forward(self, ids):
            return change(self, self.tokens(ids), ids)

    with pytest.raises(ModelError, match=words):
        ng.infinite_width(Short(None).double()).ntk(TOKENS)


def test_options_that_change_the_table_are_refused():
    for option, words in (({"max_norm": 1.0}, r"max_norm=1.0"), ({"scale_grad_by_freq": True}, r"by_freq")):
        with pytest.raises(ModelError, match=words):
            ng.infinite_width(Text(**option)).ntk(TOKENS)
    trained = Text(padding_idx=0)
    trained.tokens.weight.data[0] = 1.0
    with pytest.raises(ModelError, match=r"row for padding that is not zero"):
        ng.infinite_width(trained).ntk(TOKENS)
    with pytest.raises(ModelError, match=r"EmbeddingBag\) adds up rows of a table in bags"):
        ng.infinite_width(nn.Sequential(nn.EmbeddingBag(WORDS, 8), nn.Linear(8, 1))).ntk(TOKENS)
    model = Text().double()
    floats = torch.randn(3, LENGTH, 300, dtype=torch.float64)
    for added in (lambda: model.learned[:, :LENGTH], lambda: model.places(torch.arange(LENGTH))):

        class OnInput(nn.Module):
            def __init__(self, added=added):
                super().__init__()
                self.out, self.places, self.learned, self.added = model.out, model.places, model.learned, added

            def forward(self, x):
                return self.out((x + self.added()).mean(1))

        with pytest.raises(ModelError, match=r"before any layer of weights"):
            ng.infinite_width(OnInput()).ntk(floats)
