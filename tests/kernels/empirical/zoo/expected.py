"""What each case must give, from its Jacobian; worked out once a case."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.kernels.empirical.zoo.case import Case, double
from tests.reference.empirical import kernel
from tests.reference.trees import call, logits, one, tree_jacobian

N1, N2 = 4, 3  # no shared tensor has a first axis of these sizes


@dataclass
class Expected:
    """Jacobians [n, C, P] and outputs [n, C] of a case, in float64; the columns that belong to a parameter."""

    j1: Tensor
    j2: Tensor
    outputs: Tensor
    columns: dict[str, slice]

    def form(self, outputs: str, symmetric: bool = True, columns: Tensor | None = None) -> Tensor:
        """The kernel of x1 with itself or with x2, in one of its four forms, over all or some columns."""
        j1, j2 = (j if columns is None else j[:, :, columns] for j in (self.j1, self.j1 if symmetric else self.j2))
        full = kernel(j1, j2)
        diagonal = full.diagonal(dim1=2, dim2=3)
        if outputs == "sum":
            return full.sum((2, 3)) / full.shape[2]
        return {"full": full, "diagonal": diagonal, "mean": diagonal.mean(2)}[outputs]


@functools.cache
def expected(case: Case) -> Expected:
    """By plain autograd, one example and one output entry at a time, on a network that nobody else uses."""
    model = case.model().double()
    x1, x2 = double(case.examples(N1, 1)), double(case.examples(N2, 2))
    j1, j2 = tree_jacobian(model, x1, N1), tree_jacobian(model, x2, N2)
    with torch.no_grad():
        outputs = torch.stack([logits(call(model, one(x1, i, N1))).flatten() for i in range(N1)])
    columns, start = {}, 0
    for name, p in model.named_parameters():
        if p.requires_grad:
            columns[name] = slice(start, start + p.numel())
            start += p.numel()
    return Expected(j1, j2, outputs, columns)
