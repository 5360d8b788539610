"""Inputs by their coordinates in the span of them all, so that wide networks need no parameters beyond it."""

import torch

from ntkgap.data.dataset import Dataset


def in_span(*sets: Dataset) -> tuple[Dataset, ...]:
    r"""The same data sets in an orthonormal basis of the span of all their inputs.

    Let X = R Qᵀ with orthonormal columns Q. A network that sees inputs by Wx alone gives on R with WQ what it
    gives on X with W. If the entries of W are independent and standard normal, so are those of WQ, and gradients
    never leave the span: starts, kernels and trainings have the same distribution, with min(d, N) columns in place
    of d, for N inputs in all. The scale of the first layer must not depend on d.

    Args:
        sets: data sets whose inputs have d entries each, in any shape.

    Returns:
        Data sets with flat inputs [n, min(d, N)]; they themselves where d ≤ N.
    """
    together = torch.cat([data.x.flatten(1) for data in sets])
    if together.shape[1] <= len(together):
        return sets
    _, r = torch.linalg.qr(together.T.double())
    parts = r.T.to(together.dtype).split([len(data) for data in sets])
    return tuple(Dataset(x, data.y, data.n_classes, data.units) for x, data in zip(parts, sets, strict=True))
