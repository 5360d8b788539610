"""Fused layers written out as the linear maps they are made of: recurrent ones step after step, bilinear ones."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State, Callable[[Tensor], Tensor]], State]


def _lstm(x: Tensor, state: State, recur: Callable[[Tensor], Tensor]) -> State:
    """Hochreiter, Schmidhuber 1997, with gates in torch's order: input, forget, cell, output."""
    h, c = state
    i, f, g, o = (x + recur(h)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru(x: Tensor, state: State, recur: Callable[[Tensor], Tensor]) -> State:
    """Cho et al. 2014, with the reset gate applied after the linear map, as torch has it."""
    (h,) = state
    (r, z, n), (r_h, z_h, n_h) = x.chunk(3, -1), recur(h).chunk(3, -1)
    r, z = torch.sigmoid(r + r_h), torch.sigmoid(z + z_h)
    n = torch.tanh(n + r * n_h)
    return (n + z * (h - n),)


def _tanh(x: Tensor, state: State, recur: Callable[[Tensor], Tensor]) -> State:
    return (torch.tanh(x + recur(state[0])),)


def _relu(x: Tensor, state: State, recur: Callable[[Tensor], Tensor]) -> State:
    return (torch.relu(x + recur(state[0])),)


@dataclass(frozen=True)
class Layers:
    """``torch.lstm`` and its like: layers of recurrent steps, in one or both directions."""

    step: Step

    def takes(self, args: tuple) -> bool:
        """All but packed sequences and dropout."""
        packed = len(args) > 2 and isinstance(args[2], Tensor | tuple)
        return not packed and len(args) == 9 and (not args[5] or not args[6])

    def __call__(
        self,
        x: Tensor,
        start: Tensor | tuple[Tensor, ...],
        weights: list[Tensor],
        has_biases: bool,
        layers: int,
        _dropout: float,
        _train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...]:
        """The outputs of all steps, and the last states, as the fused function returns them."""
        starts = start if isinstance(start, tuple | list) else (start,)
        directions, time = 2 if bidirectional else 1, 1 if batch_first else 0
        each = len(weights) // (layers * directions)
        ends: list[State] = []
        for layer in range(layers):
            outputs = []
            for direction in range(directions):
                k = layer * directions + direction
                w_in, w_rec, *more = weights[k * each : (k + 1) * each]
                biases, projection = (more[:2], more[2:]) if has_biases else ((None, None), more)
                state = tuple(s[k] for s in starts)
                through = F.linear(x, w_in, biases[0]).unbind(time)
                seen: list[Tensor] = []
                for now in reversed(through) if direction else through:
                    state = self.step(now, state, lambda h: F.linear(h, w_rec, biases[1]))  # noqa: B023
                    if projection:
                        state = (F.linear(state[0], projection[0]), *state[1:])
                    seen.append(state[0])
                outputs.append(torch.stack(seen[::-1] if direction else seen, time))
                ends.append(state)
            x = torch.cat(outputs, -1) if bidirectional else outputs[0]
        return (x, *(torch.stack(part) for part in zip(*ends, strict=True)))


@dataclass(frozen=True)
class Cell:
    """``torch.lstm_cell`` and its like: one step."""

    step: Step

    def takes(self, args: tuple) -> bool:
        """All of them."""
        return True

    def __call__(
        self,
        x: Tensor,
        start: Tensor | tuple[Tensor, ...],
        w_in: Tensor,
        w_rec: Tensor,
        b_in: Tensor | None = None,
        b_rec: Tensor | None = None,
    ) -> Tensor | State:
        """The next state."""
        state = tuple(start) if isinstance(start, tuple | list) else (start,)
        after = self.step(F.linear(x, w_in, b_in), state, lambda h: F.linear(h, w_rec, b_rec))
        return after if len(after) > 1 else after[0]


@dataclass(frozen=True)
class Bilinear:
    """``torch.bilinear``: a linear map of the products of two vectors' entries."""

    def takes(self, args: tuple) -> bool:
        """All calls."""
        return True

    def __call__(self, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Σ_jk x_j w_ijk y_k + b_i."""
        return F.linear((x.unsqueeze(-1) * y.unsqueeze(-2)).flatten(-2), weight.flatten(1), bias)


UNROLLED: dict[Callable, Layers | Cell | Bilinear] = {
    torch.bilinear: Bilinear(),
    torch.lstm: Layers(_lstm),
    torch.gru: Layers(_gru),
    torch.rnn_tanh: Layers(_tanh),
    torch.rnn_relu: Layers(_relu),
    torch.lstm_cell: Cell(_lstm),
    torch.gru_cell: Cell(_gru),
    torch.rnn_tanh_cell: Cell(_tanh),
    torch.rnn_relu_cell: Cell(_relu),
}
