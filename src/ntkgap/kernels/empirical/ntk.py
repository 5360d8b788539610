"""The empirical neural tangent kernel of any ``nn.Module``, as one calls it."""

from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.differentiable import differentiable_kernel
from ntkgap.kernels.empirical.kernel_job import KernelJob, check_options
from ntkgap.kernels.empirical.network.selection import ParameterSelection
from ntkgap.kernels.empirical.plan import Plan


@overload
def empirical_ntk(
    model: nn.Module,
    x1: Any,
    x2: Any = None,
    outputs: str = "full",
    *,
    parameters: ParameterSelection = None,
    memory_budget: int | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = False,
    layerwise: Literal[False] = False,
    explain: bool = False,
    differentiable: bool = False,
) -> Tensor: ...


@overload
def empirical_ntk(
    model: nn.Module,
    x1: Any,
    x2: Any = None,
    outputs: str = "full",
    *,
    parameters: ParameterSelection = None,
    memory_budget: int | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = False,
    layerwise: Literal[True],
    explain: bool = False,
    differentiable: bool = False,
) -> dict[str, Tensor]: ...


def empirical_ntk(
    model: nn.Module,
    x1: Any,
    x2: Any = None,
    outputs: str = "full",
    *,
    parameters: ParameterSelection = None,
    memory_budget: int | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = False,
    layerwise: bool = False,
    explain: bool = False,
    differentiable: bool = False,
) -> Tensor | dict[str, Tensor]:
    r"""Empirical neural tangent kernel of a network at its present parameters.

    .. math:: K[i, j, a, b] = \sum_p \partial_p f_a(x_i)\, \partial_p f_b(x_j)

    Layers are contracted in factored form, in the cheapest exact order for each; the n·C × P Jacobian is not
    formed (Novak, Sohl-Dickstein, Schoenholz 2022, *Fast finite width neural tangent kernel*). Parameters
    without a structured rule fall back to batched reverse mode, then to one backward pass a row. No
    step approximates, and what is found on a few examples is checked against autograd on all of them.

    Args:
        model: maps [n, ...] to [n, ...], each example on its own. C is the product of the axes behind the first;
            outputs are numbered row by row, as ``outputs.flatten(1)`` has them. Of a Hugging Face model these are
            its ``logits``.
        x1: inputs: a tensor [n1, ...], a tuple of positional arguments, or a mapping of arguments by name. Tensors
            whose first axis has length n hold an entry an example; others, and ``edge_index``, are shared by all.
        x2: other inputs, n2 of them, also of another length or size; x1 if not given, which costs half.
        outputs: ``"full"``; ``"mean"`` (trace over outputs, divided by C); ``"diagonal"`` (a = b);
            ``"sum"`` (the kernel of Σ_a f_a / √C, one backward pass: Mohamadi, Bae, Sutherland 2023).
        parameters: names, parameters or modules of the model, or a filter ``(name, parameter) -> bool``; by
            default all that require grad.
        memory_budget: bytes that may be used beyond the model, the inputs and the result; by default half of
            what is free.
        dtype: precision to compute in; by default the model's own.
        progress: show a progress bar over blocks.
        layerwise: return the kernel of each layer's own parameters, which add up to the whole.
        explain: print the plan first: blocks, and for each parameter the order, FLOPs and bytes.
        differentiable: keep the graph, so that gradients of the kernel reach inputs and parameters; the Jacobian
            is then written out, without a budget.

    Returns:
        "full" [n1, n2, C, C]; "mean" and "sum" [n1, n2]; "diagonal" [n1, n2, C]. With ``layerwise`` a
        dictionary of these by the name of the module that owns the parameters ("" for the model itself).

    Raises:
        ModelError: if the model has no trainable parameters, mixes the examples, or does not return finite
            outputs [n, ...].
        DataError: if the inputs are empty, not what the model takes, or of another dtype or device.
        KernelError: if an option is unknown, the budget is too small for one pair of examples, or the kernel
            overflows or underflows.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
        >>> empirical_ntk(net, torch.randn(5, 3)).shape
        torch.Size([5, 5, 2, 2])
    """
    if differentiable:
        if layerwise or memory_budget is not None:
            raise KernelError(
                "differentiable=True goes with neither layerwise= nor memory_budget=; leave them out"
            )
        check_options(outputs, memory_budget)
        return differentiable_kernel(model, x1, x2, outputs, parameters, dtype)
    job = KernelJob(model, x1, x2, outputs, parameters, memory_budget, dtype)
    if explain:
        print(job.plan)
    return job.run(progress, layerwise)


def plan_ntk(
    model: nn.Module,
    x1: Any,
    x2: Any = None,
    outputs: str = "full",
    *,
    parameters: ParameterSelection = None,
    memory_budget: int | None = None,
    dtype: torch.dtype | None = None,
) -> Plan:
    """The plan that :func:`empirical_ntk` would follow, with the same arguments; ``print`` it.

    Example:
        >>> plan = ng.plan_ntk(ng.MLP(64, 10, 128, 2), torch.randn(8, 64))
        >>> print(str(plan).splitlines()[0])
        full kernel: 8 examples at a time, 10 outputs at a time, 512 MiB at most
    """
    return KernelJob(model, x1, x2, outputs, parameters, memory_budget, dtype).plan
