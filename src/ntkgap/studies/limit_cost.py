"""What the infinite-width kernel of a network costs for a pair of examples, counted on two of them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ntkgap.errors import KernelError, ModelError
from ntkgap.kernels import infinite_width


class _Entries(TorchDispatchMode):
    """Adds up the entries of all tensors that operations return, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.count += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


def limit_entries(network: nn.Module, x: Tensor) -> float:
    """Entries of arrays that are computed for one pair of examples; zero where no limit is known.

    The kernel of n examples takes n(n + 3)/2 pairs: every example with itself first, then those on and above the
    diagonal. Counted is what a second example adds to one with itself, so that what does not grow with pairs
    drops out.

    Args:
        network: the network, of any width.
        x: two examples at least, [n, ...].
    """
    counts = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what other threads do would not be seen
    try:
        limit = infinite_width(network)
        limit.ntk(x[:1], diagonal=True)  # tables of quadrature are made once
        for n in (1, 2):
            with _Entries() as entries:
                limit.ntk(x[:n], diagonal=True)
            counts.append(entries.count)
    except (KernelError, ModelError):
        return 0.0
    finally:
        torch.set_num_threads(threads)
    return float(counts[1] - counts[0])
