"""Networks written in a line, and what a test of the kernel has to know of one."""

from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class Case:
    """A network, its inputs, the reference that can handle it, and the parameters without a rule."""

    name: str
    build: object
    shape: tuple
    fallback: set = field(default_factory=set)
    rows: bool = False  # the row loop is the reference: torch.func cannot differentiate the model
    tokens: int = 0  # inputs are integers below this
    parameters: object = None

    def model(self):
        torch.manual_seed(0)
        model = self.build().double()
        for p in model.parameters():  # biases and scales that start at 0 or 1 would hide mistakes
            p.data.add_(0.3 * torch.randn_like(p))
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.add_(torch.rand_like(buffer))
            elif name.endswith("running_mean"):
                buffer.add_(torch.randn_like(buffer))
        return model

    def inputs(self, n, seed=1):
        g = torch.Generator().manual_seed(seed)
        if self.tokens:
            return torch.randint(self.tokens, (n, *self.shape), generator=g)
        return torch.randn(n, *self.shape, generator=g, dtype=torch.float64)


class Functional(nn.Module):
    """A module made of parameters and a function of (self, x)."""

    def __init__(self, forward, **shapes):
        super().__init__()
        self.call = forward
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape) / 2))

    def forward(self, x):
        return self.call(self, x)


class With(nn.Module):
    """A module made of modules and a function of (self, x)."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.call = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.call(self, x)
