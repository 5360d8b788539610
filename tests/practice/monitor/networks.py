"""Networks to be watched, each before and after a move of its parameters, with inputs and targets."""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call, jacrev
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.models.calls import call_arguments


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4, bias=False)
        self.two.weight = self.one.weight
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        return self.out(F.relu(self.two(F.relu(self.one(self.one(x))))))


class LowRank(nn.Module):
    """A frozen layer with a trained correction that starts at zero, as LoRA has it."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(4, 6).requires_grad_(False)
        self.down, self.up = nn.Linear(4, 2, bias=False), nn.Linear(2, 6, bias=False)
        nn.init.zeros_(self.up.weight)
        self.out = nn.Linear(6, 3).requires_grad_(False)

    def forward(self, x):
        return self.out(torch.tanh(self.base(x) + self.up(self.down(x))))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.block(x[:, :, None] * torch.linspace(1, 2, 4).to(x)).mean(1))


class Keyed(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(10, 4), nn.Linear(4, 3)

    def forward(self, tokens, mask):
        return self.out((torch.tanh(self.table(tokens)) * mask[..., None]).mean(1))


BUILD = {
    "batch normalization": lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Dropout(0.5), nn.Linear(6, 3)),
    "tied weights": Tied,
    "attention": Attention,
    "low rank": LowRank,
    "dictionary": Keyed,
    "one output": lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1), nn.Flatten(0)),
}


@dataclass
class Case:
    model: nn.Module
    x: object
    y: torch.Tensor

    def move(self, size=0.1, seed=1):
        """Another point of parameter space, and other running statistics."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in self.model.parameters():
                if p.requires_grad:
                    p += size * torch.randn(p.shape, generator=generator).to(p)
            for name, b in self.model.named_buffers():
                if b.is_floating_point():
                    b += 0.1 * torch.rand(b.shape, generator=generator).to(b) * (1 if "var" in name else 0.1)


def case(name, n=6, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BUILD[name]().to(dtype)
        x = torch.randn(n, 4).to(dtype)
        if name == "dictionary":
            x = {"tokens": torch.randint(0, 10, (n, 5)), "mask": torch.ones(n, 5, dtype=dtype)}
        y = torch.randn(n).to(dtype) if name == "one output" else torch.randint(0, 3, (n,))
    return Case(model, x, y)


def doubled(tree):
    if isinstance(tree, dict):
        return {k: doubled(v) for k, v in tree.items()}
    return tree.double() if tree.is_floating_point() else tree


def dense(model, x):
    """f, [n·C], and J written out, [n·C, P], of trained parameters in evaluation mode, in float64."""
    replica = copy.deepcopy(model).double().eval()
    trained = {k: p.detach() for k, p in replica.named_parameters() if p.requires_grad}
    args, kwargs = call_arguments(replica, doubled(x))

    def outputs(parameters):
        return functional_call(replica, parameters, args, kwargs).reshape(-1)

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        rows = jacrev(outputs)(trained)
    values = torch.cat([p.reshape(-1) for p in trained.values()])
    return outputs(trained).detach(), torch.cat([r.flatten(1) for r in rows.values()], 1).detach(), values


def wide():
    """A network whose kernel is sampled."""
    return ng.MLP(8, 10, width=64, depth=2), torch.randn(40, 8, generator=torch.Generator().manual_seed(3))
