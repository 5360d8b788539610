"""Put to the test: that examples do not notice each other, and that factors are what autograd says they are."""

import torch
from torch import Tensor

from ntkgap.errors import ModelError
from ntkgap.kernels.empirical.collect import Term
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.tracing import STUMBLES, Trace


def check_separate(point: Point, made: Trace, rows: Tensor, others: Tensor) -> None:
    """Refuse a network whose outputs for some examples are others in another batch.

    Args:
        point: the network.
        made: a forward pass.
        rows: indices of some of its examples, [k].
        others: outputs of the same examples in another batch, [k, C].

    Raises:
        ModelError: if they differ by more than rounding.
    """
    outputs = made.outputs.detach()
    off, scale = float((outputs[rows] - others).abs().max()), float(outputs.abs().max())
    allowed = made.tolerance * scale
    if off <= allowed or not made.outputs.requires_grad:
        return
    # Outputs that all but cancel (an antisymmetric initialization) change by rounding: how much of it there
    # is shows in how the outputs respond to a relative change of the parameters.
    leaves = list(point.leaves.values())
    ones = torch.ones_like(outputs)
    grads = torch.autograd.grad(made.outputs, leaves, ones, retain_graph=True, allow_unused=True)
    pairs = [(g, p.detach()) for g, p in zip(grads, leaves, strict=True) if g is not None]
    response = sum(float(g.norm() * p.norm()) for g, p in pairs)
    if off > allowed + 100 * torch.finfo(made.precision).eps * response:
        raise ModelError(
            f"{type(point.model).__name__} has no per-example Jacobian: the outputs of an example change by "
            f"{off:.1e} (of {scale:.1e}) with the other examples in the batch, or from call to call; put "
            "layers that share statistics or draw random numbers into eval mode, or replace them (GroupNorm)"
        )


def disagreeing(point: Point, made: Trace, terms: dict[str, Term], along: Tensor, names: list[str]) -> list[str]:
    """Parameters whose Jᵀv, v random, does not come out of the factors as it comes out of autograd.

    A gradient that was given to the wrong example, was missed, or was counted twice shows, unless it vanishes
    on just these examples.

    Args:
        point: the network.
        made: the forward pass the factors are from.
        terms: factors of the gradients of some combinations of the outputs, by parameter.
        along: those combinations, [c, C].
        names: the parameters to look at.
    """
    if not names or not made.outputs.requires_grad:
        return []
    generator = torch.Generator().manual_seed(0)
    size = (len(along), len(made.outputs))
    v = torch.randn(size, generator=generator, dtype=torch.float64).to(made.outputs)
    leaves = [point.leaves[name] for name in names]
    truth = torch.autograd.grad(made.outputs, leaves, v.mT @ along.to(v), retain_graph=True, allow_unused=True)
    norms = [float(t.norm()) if t is not None else 0.0 for t in truth]
    failed = []
    for name, expected, norm in zip(names, truth, norms, strict=True):
        if name not in terms:
            if expected is not None:  # used where the trace could not see it; zero here need not be zero elsewhere
                failed.append(name)
            continue
        try:
            found = terms[name].transposed_product(v)
        except STUMBLES:
            failed.append(name)
            continue
        off = float(found.norm() if expected is None else torch.dist(found, expected.flatten().to(found)))
        if not off <= made.tolerance * (norm + 1e-3 * max(norms)):
            failed.append(name)
    return failed


def is_separable(point: Point, made: Trace, names: list[str]) -> bool:
    """Whether gradients of a batch are those of its examples one by one, for parameters without factors."""
    n, c = made.outputs.shape
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(n, c, generator=generator, dtype=torch.float64).to(made.outputs)
    leaves = [point.leaves[name] for name in names]

    def transposed_product(outputs: Tensor, weights: Tensor) -> Tensor:
        grads = torch.autograd.grad(outputs, leaves, weights, retain_graph=True, allow_unused=True)
        pairs = zip(grads, leaves, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])

    try:
        together = transposed_product(made.outputs, v)
        with torch.enable_grad():
            alone = sum(transposed_product(point(made.x[i : i + 1]), v[i : i + 1]) for i in range(n))
    except RuntimeError:
        return False
    return bool((together - alone).norm() <= made.tolerance * together.norm())


def refuse_hidden(point: Point, outputs: Tensor) -> None:
    """Refuse a network that autograd cannot follow to the point's leaves.

    Raises:
        ModelError: if it reaches a parameter past the modules, where no other value can take its place, or
            recomputes parts of itself in a way that only ``backward()`` knows.
    """
    own, name = {id(p): name for name, p in point.model.named_parameters()}, type(point.model).__name__
    waiting, seen = [outputs.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if id(variable) in own:
            raise ModelError(
                f"{name} uses {own[id(variable)]!r} through a reference of its own (a function or another object "
                "that holds the weight), where its value cannot be swapped; use the attribute of the module"
            )
        if type(node).__name__ == "CheckpointFunctionBackward":
            raise ModelError(
                f"{name} calls torch.utils.checkpoint with use_reentrant=True, which cannot give gradients of "
                "single outputs; use use_reentrant=False"
            )
        waiting.extend(following for following, _ in node.next_functions)
