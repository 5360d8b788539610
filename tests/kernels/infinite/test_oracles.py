"""Kernels of an independent implementation, in float64; its conventions are in ``tests/oracles/index.json``."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ntkgap as ng
from ntkgap.models import NTKConv2d, NTKLinear
from ntkgap.models.nonlinearities import Erf

ORACLES = Path(__file__).parents[2] / "oracles"

# The independent implementation takes √(q² − c²) on the diagonal of Θ, where it is rounding: √ε of the entry.
ORACLE_DIAGONAL = 1e-8
ORACLE = 1e-12


def dense(phi, depth, weight_std, bias_std, normalized=False):
    layers, fan_in = [], 12
    for _ in range(depth):
        layers.append(NTKLinear(fan_in, 16, weight_std, bias_std))
        if normalized:
            layers.append(nn.LayerNorm(16, eps=1e-12, elementwise_affine=False))
        layers.append(phi())
        fan_in = 16
    return nn.Sequential(*layers, NTKLinear(16, 1, weight_std, bias_std))


def convolutional(*tail, pool=nn.Identity):
    scales = {"weight_std": 1.4, "bias_std": 0.1}
    first, second = NTKConv2d(3, 8, 3, padding=1, **scales), NTKConv2d(8, 8, 3, padding=1, **scales)
    features = {nn.Identity: 512, nn.AvgPool2d: 32}[pool] if not tail else 8
    pools = [pool(2) if pool is nn.AvgPool2d else pool() for _ in range(2)]
    return nn.Sequential(
        first, nn.ReLU(), pools[0], second, nn.ReLU(), pools[1], *tail, nn.Flatten(), NTKLinear(features, 1, **scales)
    )


class Block(nn.Module):
    """ReLU, convolution, ReLU, convolution, and a shortcut, all in a user's own code."""

    def __init__(self, stride: int, convolved: bool) -> None:
        super().__init__()
        self.first, self.second = self._convolution(stride), self._convolution(1)
        self.shortcut = self._convolution(stride) if convolved else nn.Identity()

    @staticmethod
    def _convolution(stride: int) -> nn.Module:
        if stride == 1:
            return NTKConv2d(8, 8, 3, padding=1, weight_std=1.2, bias_std=0.1)
        # The reference pads what a strided window misses behind the image only.
        return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), NTKConv2d(8, 8, 3, stride, weight_std=1.2, bias_std=0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x.relu()))) + self.shortcut(x)


def wide_resnet():
    return nn.Sequential(
        NTKConv2d(3, 8, 3, padding=1, weight_std=1.2, bias_std=0.1),
        Block(1, True),
        Block(1, False),
        Block(2, True),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        NTKLinear(8, 1, 1.2, 0.1),
    )


MODELS = {
    "fc_relu_depth1": lambda: dense(nn.ReLU, 1, 1.0, 0.0),
    "fc_relu_depth3": lambda: dense(nn.ReLU, 3, 2**0.5, 0.1),
    "fc_erf_depth2": lambda: dense(Erf, 2, 1.5, 0.05),
    "fc_gelu_depth2": lambda: dense(nn.GELU, 2, 1.3, 0.2),
    "fc_layernorm_relu": lambda: dense(nn.ReLU, 2, 1.5, 0.1, normalized=True),
    "conv_relu_flatten": lambda: convolutional(),
    "conv_relu_gap": lambda: convolutional(nn.AdaptiveAvgPool2d(1)),
    "conv_relu_avgpool_flatten": lambda: convolutional(pool=nn.AvgPool2d),
    "wideresnet_small": wide_resnet,
}


@pytest.mark.parametrize("name", MODELS)
def test_kernels_are_those_of_an_independent_implementation(name):
    oracle = {key: torch.from_numpy(value) for key, value in np.load(ORACLES / f"{name}.npz").items()}
    limit = ng.infinite_width(MODELS[name]())
    across = limit.kernels(oracle["x1"], oracle["x2"])
    own = limit.kernels(oracle["x1"])
    for found, kernel, tolerance in (
        (across.nngp, "nngp_12", ORACLE),
        (across.ntk, "ntk_12", ORACLE),
        (own.nngp, "nngp_11", ORACLE),
        (own.ntk, "ntk_11", ORACLE_DIAGONAL),
    ):
        error = (found - oracle[kernel]).abs().max() / oracle[kernel].abs().max()
        assert error < tolerance, kernel
    diagonal = limit.kernels(oracle["x1"], diagonal=True)
    assert torch.equal(diagonal.ntk, own.ntk.diagonal())
    assert torch.equal(diagonal.nngp, own.nngp.diagonal())
    assert torch.equal(own.ntk, own.ntk.mT)
    assert torch.equal(limit.nngp(oracle["x1"]), own.nngp)
    matched = limit.ntk(oracle["x1"][:3], oracle["x2"][:3], diagonal=True)
    torch.testing.assert_close(matched, across.ntk.diagonal()[:3], rtol=ORACLE, atol=ORACLE)
    single = limit.ntk(oracle["x1"].float(), oracle["x2"].float())
    torch.testing.assert_close(single.double(), across.ntk, rtol=1e-4, atol=1e-5)


def test_a_small_memory_budget_gives_the_same_kernel_in_more_tiles():
    oracle = np.load(ORACLES / "conv_relu_gap.npz")
    x = torch.from_numpy(oracle["x1"])
    limit = ng.infinite_width(MODELS["conv_relu_gap"]())
    needed = 64 * 64 * 8  # bytes of one kernel of one pair
    torch.testing.assert_close(limit.ntk(x, memory_budget=40 * needed), limit.ntk(x), rtol=ORACLE, atol=ORACLE)
    with pytest.raises(ng.NtkgapError, match=r"memory_budget=1,000 bytes is too small: one pair of inputs needs"):
        limit.ntk(x, memory_budget=1000)
