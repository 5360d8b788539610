"""Tables of random rows, looked up by tokens: Σ = σ²·1[same token], and Θ likewise.

A table of N(0, σ²) is a dense layer without bias on one-hot tokens, so it follows from Lee et al. 2018 and Jacot,
Gabriel, Hongler 2018.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.kernels.infinite.initializations import find_table
from ntkgap.kernels.infinite.pairs import Moments, Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Data, Operation, State, rule
from ntkgap.kernels.infinite.rules.weights import layer_parameters
from ntkgap.kernels.infinite.signals import Field, Layout, Signal


@dataclass(frozen=True)
class Lookup(Operation):
    """Rows of a table by the tokens at every position.

    Attributes:
        tokens: name of the step that gives them, [n, *positions].
        variance: σ² of an entry.
        learning: what Θ gains from the rows; 0 if they are frozen.
        padding: the token whose row is zero and stays so.
    """

    tokens: str
    variance: float
    learning: float
    padding: int | None

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Rows of different tokens are independent."""
        left, right = at.left.values(self.tokens, at.rows), at.right.values(self.tokens, at.cols)
        first, second = at.spread(left.movedim(0, -1), right.movedim(0, -1), pairs)
        same = first == second
        if self.padding is not None:
            same = same & (first != self.padding)
        kernel = same.to(at.left.dtype)
        return [Moments(kernel * self.variance, kernel * self.learning if self.learning and at.with_ntk else None)]


@rule(nn.Embedding, F.embedding, layer=True)
def embedding(call: Call) -> Compiled:
    """A table looked up by a function of the input."""
    names = ("padding_idx", "max_norm", "scale_grad_by_freq")
    if call.is_module:
        given = call.bind("input") | call.module_arguments("weight", *names)
    else:
        defaults = {"padding_idx": None, "max_norm": None, "scale_grad_by_freq": False}
        given = call.bind(
            "input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", **defaults
        )
    for option in ("max_norm", "scale_grad_by_freq"):
        if given[option]:
            raise call.refusal(
                f"has {option}={given[option]}, which changes rows or gradients by how they are used"
            )
    tokens, padding = given["input"], given["padding_idx"]
    name, table, _ = layer_parameters(call, given["weight"], None)
    if not isinstance(tokens, Data) or not isinstance(tokens.value, Tensor):
        raise call.refusal("looks up tokens that are not a function of the input")
    call.enters(tokens, 0)
    padding = None if padding is None else padding % len(table)
    rows = table.detach()
    if padding is not None:
        if bool(rows[padding].any()):
            raise call.refusal("has a row for padding that is not zero; pass a model that is not trained")
        rows = rows[[i for i in range(len(rows)) if i != padding]]
    start, normal = find_table(name, rows, call.initializations)
    scale = start.weight_scale**2
    operation = Lookup(tokens.name, scale * start.weight_std**2, scale if table.requires_grad else 0.0, padding)
    positions = tuple(tokens.value.shape[1:])
    field = Field(table.shape[1], gaussian=normal, zero_mean=True, sources=frozenset({call.place}))
    return Compiled(operation, [], Signal(Layout(positions, len(positions) + 1), (field,)))
