"""Networks and data on any device, drawn on the CPU and moved; and the table of calls that are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import ntkgap as ng

Device = torch.device

CASES: dict[str, Callable[[Device], Any]] = {}


def case(function: Callable[[Device], Any]) -> Callable[[Device], Any]:
    CASES[function.__name__] = function
    return function


def numbers(found: Any) -> list[Any]:
    """All numbers in what a function returned, in their order."""
    if isinstance(found, Tensor):
        return [found.detach().cpu()]
    if isinstance(found, np.ndarray | float | int):
        return [torch.as_tensor(found)]
    if isinstance(found, dict):
        return [n for value in found.values() for n in numbers(value)]
    if isinstance(found, list | tuple):
        return [n for value in found for n in numbers(value)]
    if dataclasses.is_dataclass(found):
        return numbers([getattr(found, f.name) for f in dataclasses.fields(found) if "seconds" not in f.name])
    return []


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def net(device: Device, width: int = 8, outputs: int = 2, seed: int = 0, **options: Any) -> nn.Module:
    options = {"in_features": 3, "width": width, "depth": 2, "nonlinearity": "relu"} | options
    return ng.MLP(out_features=outputs, generator=torch.Generator().manual_seed(seed), **options).to(device)


def inputs(device: Device, n: int = 6, seed: int = 1) -> Tensor:
    return drawn(n, 3, seed=seed).to(device)


def data(device: Device, n: int = 6, outputs: int = 2) -> ng.Dataset:
    return ng.Dataset(inputs(device, n), drawn(n, outputs, seed=2).to(device))


def classes(device: Device, n: int = 9, count: int = 3) -> ng.Dataset:
    labels = torch.arange(n) % count
    return ng.Dataset(inputs(device, n), nn.functional.one_hot(labels, count).float().to(device), count)


def plain(device: Device) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(16, 3)).eval().to(device)


def images(device: Device, n: int = 4) -> Tensor:
    return drawn(n, 2, 4, 4, seed=3).to(device)


def grams(device: Device, n: int = 6, m: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Of n training and m test points, between them, and of the latter."""
    x = drawn(n + m, 20, seed=4).double().to(device)
    k = x @ x.mT / 20
    return k[:n, :n], k[n:, :n], k[n:, n:]
