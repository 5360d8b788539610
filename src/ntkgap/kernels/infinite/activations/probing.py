"""Whether a module acts on every entry alone."""

import torch
from torch import Tensor, nn


def is_elementwise(module: nn.Module) -> bool:
    """Whether a module without parameters and buffers maps every entry by one and the same function.

    Found out by evaluation: shapes are kept, results repeat, are finite, follow the entries when these are
    reshaped or permuted, and do not change when other entries do. Never raises: a module that cannot be
    evaluated on such inputs is not elementwise.
    """
    try:
        if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
            return False
        with torch.no_grad():
            return _acts_on_entries(module)
    except Exception:
        return False


def _acts_on_entries(module: nn.Module) -> bool:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(6, 4, dtype=torch.float64, generator=generator)
    x[0, 0] = 0.0

    def phi(z: Tensor) -> Tensor:
        out = module(z.clone())  # the module may work in place
        if not isinstance(out, Tensor) or out.shape != z.shape or not out.isfinite().all():
            raise ValueError("not elementwise")
        return out

    y = phi(x)
    shuffle = torch.randperm(x.numel(), generator=generator)
    others = x.clone()
    others[::2, ::2] = 3 - 2 * others[::2, ::2]
    kept = torch.ones_like(x, dtype=torch.bool)
    kept[::2, ::2] = False
    pairs = (
        (phi(x), y),
        (phi(x.flatten()[shuffle].view(2, 3, 2, 2)).flatten(), y.flatten()[shuffle]),
        (phi(x.reshape(2, 3, 4)).flatten(), y.flatten()),
        (phi(x.reshape(24, 1)).flatten(), y.flatten()),
        (phi(others)[kept], y[kept]),
        (phi(x[:1]), y[:1]),
    )
    return all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in pairs)


def is_multiple(module: nn.Module) -> bool:
    """Whether an elementwise module multiplies by a number: then it is no nonlinearity."""
    x = torch.tensor([-3.0, -0.7, 0.0, 1.0, 2.5], dtype=torch.float64)
    with torch.no_grad():
        y = module(x.clone())
    return torch.allclose(y, y[3] * x, rtol=1e-12, atol=1e-12)
