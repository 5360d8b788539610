"""Modes of torch around a call, and wrappers around a model, change no bit of the kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError
from ntkgap.kernels.neutral import neutral
from ntkgap.models import ConvNet, NTKLinear


class Standardized(nn.Module):
    """Numbers and buffers of the user's own in the forward."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(12, 64), nn.Linear(64, 1)
        self.register_buffer("mean", torch.full((12,), 0.3))

    def forward(self, x):
        return self.last(nn.functional.elu(self.first((x - self.mean) / 2.5)))


class Text(nn.Module):
    """Tokens, looked up; a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.table, self.rnn, self.last = nn.Embedding(50, 40), nn.RNN(40, 60, batch_first=True), nn.Linear(60, 1)

    def forward(self, ids):
        return self.last(self.rnn(self.table(ids))[0][:, -1])


def models():
    torch.manual_seed(0)
    normalized = [nn.Linear(12, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3)]
    pixels = [nn.Conv2d(3, 32, 3, padding=1, padding_mode="reflect"), nn.SiLU(), nn.AvgPool2d(2)]
    pixels += [nn.Conv2d(32, 32, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1)]
    vectors, images = torch.randn(5, 12), torch.randn(4, 3, 6, 6)
    return {
        "dense": (ng.MLP(12, 2, 16, 3), vectors),
        "normalized": (nn.Sequential(*normalized), vectors),
        "standardized": (Standardized(), vectors),
        "convolutions": (ConvNet(3, 2, 8, 2), images),
        "pooling": (nn.Sequential(*pixels), images),
        "tokens": (Text(), torch.randint(50, (4, 3))),
    }


MODELS = models()


def built():
    return nn.Sequential(NTKLinear(12, 16), nn.ReLU(), NTKLinear(16, 2)).to(torch.float32)


def kernels_of(name):
    if name == "Monte Carlo":
        return ng.kernels.monte_carlo_kernel(built, MODELS["dense"][1], draws=2)
    model, x = MODELS[name]
    limit = ng.infinite_width(model)
    return (*limit.kernels(x), *limit.kernels(x, x[:2]), limit.nngp(x, diagonal=True))


NAMES = [*MODELS, "Monte Carlo"]


@cache
def plain(name):
    return kernels_of(name)


@contextmanager
def default_dtype(dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(1)


MODES = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "default float64": lambda: default_dtype(torch.float64),
    "default bfloat16": lambda: default_dtype(torch.bfloat16),
    "deterministic": deterministic,
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
    "two threads": two_threads,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_modes_change_no_bit(name, mode):
    if name == "Monte Carlo" and mode.startswith("default"):
        pytest.skip("the networks themselves are drawn in another type")
    expected = plain(name)
    with MODES[mode]():
        found = kernels_of(name)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
        assert not a.is_inference()


def test_a_neutral_context_leaves_the_gradient_mode_alone():
    for mode, recording in ((torch.inference_mode, False), (torch.no_grad, False), (torch.enable_grad, True)):
        with mode(), torch.autocast("cpu"), neutral():
            assert torch.is_grad_enabled() == recording
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
    with torch.inference_mode(), torch.autocast("cpu"):
        with pytest.raises(ValueError, match="inside"), neutral():
            raise ValueError("inside")
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")


def test_gradients_are_recorded_as_ever():
    limit = ng.infinite_width(MODELS["dense"][0])
    x = MODELS["dense"][1].double().requires_grad_()
    with torch.autocast("cpu"), two_threads():
        kernel = limit.ntk(x)
    (found,) = torch.autograd.grad(kernel.sum(), x)
    (expected,) = torch.autograd.grad(limit.ntk(x).sum(), x)
    assert torch.equal(found, expected)
    with torch.no_grad():
        assert not limit.ntk(x).requires_grad


def test_wrappers_are_taken_off():
    model, x = MODELS["dense"]
    compiled = nn.Sequential(*[torch.compile(module) for module in model.children()])
    for wrapped in (torch.compile(model), nn.DataParallel(model), torch.compile(nn.DataParallel(model)), compiled):
        assert torch.equal(ng.infinite_width(wrapped).ntk(x), plain("dense")[1])
    script = torch.jit.trace(nn.Linear(12, 1), x)
    with pytest.raises(ModelError, match=r"the model is compiled to TorchScript"):
        ng.infinite_width(script)
    with pytest.raises(ModelError, match=r"the part '1' of the model is compiled to TorchScript"):
        ng.infinite_width(nn.Sequential(nn.Linear(12, 12), script))


def test_the_model_is_only_read():
    """Not its buffers, and not what its forward pass leaves behind."""

    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last, self.seen = NTKLinear(12, 8), NTKLinear(8, 1), None
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.seen = self.first(x)
            self.calls += 1
            return self.last(torch.relu(self.seen))

    model = Remembers()
    before = dict(vars(model))
    ng.infinite_width(model).ntk(MODELS["dense"][1])
    assert vars(model) == before
    assert model.seen is None
    assert model.calls == 0
