"""Which rule a step follows: that of its module or function, that of a nonlinearity, or none."""

from typing import Any

from torch import Tensor, nn

from ntkgap.kernels.infinite.activations import find_activation, is_elementwise, is_multiple, quadrature_of
from ntkgap.kernels.infinite.drawn import Drawn
from ntkgap.kernels.infinite.refusals import reason_for
from ntkgap.kernels.infinite.rules import Call, Compiled, Data, Random, find_rule
from ntkgap.kernels.infinite.rules.base import ANY_BATCH_AXIS, LAYERS, require_batch_first
from ntkgap.kernels.infinite.rules.mixing import matrix_product
from ntkgap.kernels.infinite.rules.pointwise import pointwise
from ntkgap.kernels.infinite.rules.several import find_several


def has_weights(target: Any, args: tuple[Any, ...], leaves: list[Any]) -> bool:
    """Whether a step on functions of the input alone is the first one with weights drawn at random."""
    if isinstance(target, nn.Module):
        return any(True for _ in target.parameters())
    if any(isinstance(leaf, Drawn) or (isinstance(leaf, Tensor) and leaf.requires_grad) for leaf in leaves):
        return True
    rule = find_rule(target)
    drawn = args[1:] if rule is matrix_product else leaves  # a frozen A in A @ x is a constant, W in x @ W is not
    return rule in LAYERS and any(isinstance(leaf, nn.Parameter) for leaf in drawn)


def is_step(module: nn.Module) -> bool:
    """Whether a module is one step of the recursion; all others are traced into."""
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    if find_rule(module) or find_several(module) or find_activation(module) or reason_for(module):
        return True
    if type(module).__module__.startswith("torch.nn"):
        return True
    return is_elementwise(module) and not is_multiple(module)


def compile_step(call: Call) -> Compiled:
    """The operation of a step: by its rule, as a nonlinearity, or not at all.

    Raises:
        ModelError: if there is none, naming the step.
    """
    rule = find_rule(call.target)
    if rule not in ANY_BATCH_AXIS:
        require_batch_first(call, (leaf.layout for leaf in call.leaves if isinstance(leaf, Random)))
    if rule is not None:
        return rule(call)
    options = (*call.args[1:], *call.kwargs.values())
    activation = None
    if not any(isinstance(option, Random | Data | Drawn) for option in options):
        activation = find_activation(call.target, *call.args[1:], **call.kwargs)
    if activation is None and call.is_module and is_elementwise(call.target):
        activation = quadrature_of(call.target, type(call.target).__name__)
    if activation is not None:
        return pointwise(call, activation)
    reason = reason_for(call.target)
    raise call.refusal(
        reason
        or "has no known infinite-width limit here. Weights belong into nn.Linear, convolutions or F.linear; "
        "what acts on every entry alone, into a module without parameters; for anything else use "
        "infinite_width_monte_carlo"
    )
