"""Sums over parameters are taken in their order, so that no number depends on PYTHONHASHSEED."""

import torch

from ntkgap.practice.bandits.gradients import FactoredGradients


def test_products_are_summed_in_the_order_of_the_parameters(generator):
    names = [f"layer.{i}.weight" for i in range(12)]
    draw = {name: 10.0 ** (i % 5) * torch.randn(3, 4, generator=generator) for i, name in enumerate(names)}
    one = FactoredGradients({name: (u, None) for name, u in draw.items()})
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for name in names:
        expected += draw[name] @ draw[name].mT
    assert torch.equal(one.products(one), expected)
