"""Some examples as a model takes them: one tensor, several, or a dictionary, of which blocks can be taken."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import TreeSpec, tree_flatten_with_path, tree_unflatten

from ntkgap.errors import DataError
from ntkgap.models.calls import call_arguments


class Inputs:
    """n examples, in whatever tensors the model takes them.

    Tensors whose first axis has length n hold an entry an example; all others (a list of edges, an adjacency
    matrix, a number) are shared by all examples. n is the length of the first tensor, in the order in which the
    model's ``forward`` names its arguments.

    Attributes:
        leaves: tensors and other objects, in the order of the tree.
        own: which of them hold an entry an example.
        whole: which of them never do: edges are shared by all examples, however many there are.
        names: of the leaves, for messages ("x1['input_ids']").
    """

    def __init__(
        self, leaves: list[Any], own: list[bool], whole: list[bool], spec: TreeSpec, names: list[str], n: int
    ) -> None:
        self.leaves, self.own, self.whole, self.names = leaves, own, whole, names
        self._spec, self._n = spec, n

    @classmethod
    def of(cls, x: Any, name: str = "x", order: tuple[str, ...] = ()) -> "Inputs":
        """Look at what the user gave.

        Args:
            x: a tensor [n, ...], a tuple or list of positional arguments, or a mapping of arguments by name.
            name: how messages call it.
            order: names of the model's arguments.

        Raises:
            DataError: if there is no example in it, or tensors have different numbers of them.
        """
        if isinstance(x, Inputs):
            return x
        if not isinstance(x, Tensor | tuple | list | Mapping) or isinstance(x, PackedSequence):
            hint = ": pad them to one length and give the model a mask" if isinstance(x, PackedSequence) else ""
            raise DataError(
                f"{name} must be a torch.Tensor of shape [n, ...], or a tuple or dict of such, got "
                f"{type(x).__name__}{hint}"
            )
        if isinstance(x, Mapping):
            places = {key: place for place, key in enumerate(order)}
            x = dict(sorted(x.items(), key=lambda item: places.get(item[0], len(places))))
        pairs, spec = tree_flatten_with_path(x)
        names = [name + "".join(map(str, path)) for path, _ in pairs]
        leaves = [leaf for _, leaf in pairs]
        _check_leaves(names, leaves)
        sparse = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.layout != torch.strided]
        whole = [not _may_have_examples(leaf, path, x, order) for path, leaf in pairs]
        tensors = [leaf for leaf, shared in zip(leaves, whole, strict=True) if not shared]
        if sparse and not tensors:
            layout = leaves[sparse[0]].layout
            raise DataError(f"{names[sparse[0]]} is sparse ({layout}); convert it with .to_dense()")
        if not tensors or not len(tensors[0]):
            kinds = ", ".join(f"{path} a {type(leaf).__name__}" for path, leaf in zip(names, leaves, strict=True))
            what = (
                f"shape {tuple(x.shape)}"
                if isinstance(x, Tensor)
                else f"no tensor of examples ({kinds or 'empty'})"
            )
            raise DataError(f"{name} has {what}; at least one example [n, ...] is needed")
        n = len(tensors[0])
        return cls(leaves, _own(leaves, whole, n), whole, spec, names, n)

    @property
    def lengths(self) -> str:
        """The first axes of tensors, in words, where they differ; "" where they do not."""
        triples = zip(self.leaves, self.own, self.names, strict=True)
        axes = {name: len(leaf) for leaf, _, name in triples if isinstance(leaf, Tensor) and leaf.ndim}
        return ", ".join(f"{n} of {name}" for name, n in axes.items()) if len(set(axes.values())) > 1 else ""

    def of_length(self, n: int) -> "Inputs":
        """The same, with n examples."""
        own = _own(self.leaves, self.whole, n)
        if n == self._n or not any(own):
            return self
        return Inputs(self.leaves, own, self.whole, self._spec, self.names, n)

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, some: slice | Tensor) -> "Inputs":
        """Some of the examples."""
        n = len(range(*some.indices(self._n))) if isinstance(some, slice) else len(some)
        leaves = [leaf[some] if mine else leaf for leaf, mine in zip(self.leaves, self.own, strict=True)]
        return Inputs(leaves, self.own, self.whole, self._spec, self.names, n)

    def split(self, size: int) -> list["Inputs"]:
        """Blocks of at most ``size`` examples."""
        return [self[start : start + size] for start in range(0, self._n, size)]

    def map(self, change: Callable[[Tensor, str], Tensor]) -> "Inputs":
        """Apply a function of a tensor and its name to all tensors."""
        leaves = [
            change(leaf, name) if isinstance(leaf, Tensor) else leaf
            for leaf, name in zip(self.leaves, self.names, strict=True)
        ]
        return Inputs(leaves, self.own, self.whole, self._spec, self.names, self._n)

    def joined(self, other: "Inputs") -> "Inputs":
        """These examples and then those."""
        pairs = zip(self.leaves, other.leaves, self.own, strict=True)
        leaves = [torch.cat([a, b]) if mine else a for a, b, mine in pairs]
        return Inputs(leaves, self.own, self.whole, self._spec, self.names, self._n + len(other))

    @property
    def kind(self) -> tuple:
        """What two sets of examples have in common that a network treats alike: shapes but for n."""
        return tuple(
            (leaf.shape[1:] if mine else leaf.shape) if isinstance(leaf, Tensor) else None
            for leaf, mine in zip(self.leaves, self.own, strict=True)
        )

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors."""
        return [leaf for leaf in self.leaves if isinstance(leaf, Tensor)]

    @property
    def device(self) -> torch.device:
        """Of the first tensor."""
        return self.tensors[0].device

    @property
    def floating(self) -> bool:
        """Whether any tensor of examples holds floating-point numbers."""
        return any(mine and leaf.is_floating_point() for leaf, mine in zip(self.leaves, self.own, strict=True))

    @property
    def shared(self) -> list[str]:
        """Names of the tensors that all examples share."""
        triples = zip(self.leaves, self.own, self.names, strict=True)
        return [name for leaf, mine, name in triples if isinstance(leaf, Tensor) and leaf.ndim and not mine]

    def with_leaves(self, own: list[Tensor], n: int) -> "Inputs":
        """The same inputs with other tensors of examples, in their order."""
        given = iter(own)
        leaves = [next(given) if mine else leaf for leaf, mine in zip(self.leaves, self.own, strict=True)]
        return Inputs(leaves, self.own, self.whole, self._spec, self.names, n)

    def own_leaves(self) -> list[Tensor]:
        """The tensors that hold an entry an example."""
        return [leaf for leaf, mine in zip(self.leaves, self.own, strict=True) if mine]

    @property
    def plain(self) -> Any:
        """As the user gave them."""
        return tree_unflatten(self.leaves, self._spec)

    def arguments(self, model: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """How the model takes them; see ``call_arguments``."""
        name = self.names[0].split("[")[0]
        return call_arguments(model, self.plain, name)


def _check_leaves(names: list[str], leaves: list[Any]) -> None:
    for name, leaf in zip(names, leaves, strict=True):
        if not isinstance(leaf, Tensor):
            if hasattr(leaf, "__array__"):
                raise DataError(f"{name} is a {type(leaf).__name__}; convert it with torch.as_tensor")
            continue
        if leaf.layout != torch.strided and leaf.ndim > 2:
            raise DataError(
                f"{name} is sparse ({leaf.layout}) with an entry an example, of which blocks cannot be taken; "
                "convert it with .to_dense(). Two-dimensional sparse tensors are taken as shared by all examples"
            )
        if leaf.is_nested:
            raise DataError(f"{name} is a nested tensor; pad it (torch.nested.to_padded_tensor) and give a mask")


def _may_have_examples(leaf: Any, path: Any, x: Any, order: tuple[str, ...]) -> bool:
    """Whether a tensor may hold an entry an example: not if it is sparse, or called ``edge_index``."""
    if not isinstance(leaf, Tensor) or not leaf.ndim:
        return False
    name = getattr(path[-1], "key", None) if path else None
    if isinstance(x, tuple | list) and len(path) == 1 and path[0].idx < len(order):
        name = order[path[0].idx]
    return leaf.layout == torch.strided and not (name == "edge_index" and leaf.ndim == 2)


def _own(leaves: list[Any], whole: list[bool], n: int) -> list[bool]:
    return [not shared and len(leaf) == n for leaf, shared in zip(leaves, whole, strict=True)]
