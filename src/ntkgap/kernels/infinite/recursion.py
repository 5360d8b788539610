"""The recursion of one model over its layers, and how to run it on a tile of pairs."""

import math
from dataclasses import dataclass

from torch import Tensor

from ntkgap.kernels.infinite.activations import Activation
from ntkgap.kernels.infinite.functions_of_input import FunctionsOfInput
from ntkgap.kernels.infinite.pairs import Moments, Tile, own_positions
from ntkgap.kernels.infinite.rules import Operation, State

# Tensors of the size of a kernel that a step makes on the way, at most: those of a nonlinearity, in closed form or
# expanded in a series.
TEMPORARIES = 8
SERIES_TEMPORARIES = 40


@dataclass
class Step:
    """One operation with its place in the recursion.

    Attributes:
        name: of the step.
        operation: what it does.
        inputs: names of the steps it takes.
        positions: sizes of the output's positions.
        fields: number of fields of the output.
        wanted: whether the output must hold all pairs of positions.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    positions: tuple[int, ...]
    fields: int
    wanted: bool = False

    @property
    def input_pairs(self) -> bool:
        """Whether the inputs must hold all pairs of positions."""
        return self.operation.wants_position_pairs(self.wanted)

    @property
    def entries(self) -> int:
        """Numbers a kernel of the output holds for one pair of inputs."""
        return self.fields * math.prod(self.positions) ** (2 if self.wanted else 1)


class Recursion:
    """Steps in the order in which they are taken.

    Args:
        steps: by name.
        output: name of the step whose kernel is the network's.
        functions_of_input: what the steps without inputs start from.
        activations: the nonlinearities, for the errors they report.
        remarks: what is to be said to whoever asks for Θ.
    """

    def __init__(
        self,
        steps: dict[str, Step],
        output: str,
        functions_of_input: FunctionsOfInput,
        activations: list[Activation],
        remarks: list[str],
    ) -> None:
        self.steps, self.output = steps, output
        self.functions_of_input, self.activations, self.remarks = functions_of_input, activations, remarks
        for step in reversed(steps.values()):  # where all pairs of positions are needed, from the output back
            if step.input_pairs:
                for name in step.inputs:
                    steps[name].wanted = True

    def evaluate(self, at: Tile) -> Moments:
        """Run the recursion on a tile of pairs; kernels of one output."""
        states: dict[str, State] = {}
        last_use = self._last_uses()
        for step in self.steps.values():
            inputs = [self._reduced(states[name], name, step.input_pairs) for name in step.inputs]
            states[step.name] = step.operation(at, step.input_pairs, *inputs)
            if step.input_pairs and step.positions and not step.wanted:
                states[step.name] = _equal_positions(states[step.name], step)
            for name in step.inputs:
                if last_use[name] == step.name:
                    states.pop(name, None)
        return states[self.output][0]

    @property
    def entries(self) -> int:
        """Numbers a kernel holds for one pair of inputs where the recursion is widest."""
        return max(step.entries for step in self.steps.values())

    @property
    def live(self) -> int:
        """Tensors of that size that exist at once: Σ and Θ of every state still needed, and temporaries."""
        last_use = self._last_uses()
        ends = dict.fromkeys(self.steps, 0)
        for name in self.steps:
            ends[last_use.get(name, name)] += 1
        alive = most = 0
        for name in self.steps:
            alive += 1
            most = max(most, alive)
            alive -= ends[name]
        return 2 * most + (SERIES_TEMPORARIES if self.has_series else TEMPORARIES)

    @property
    def has_series(self) -> bool:
        """Whether any nonlinearity has no closed form."""
        return not all(activation.closed_form for activation in self.activations)

    def remember(self, size: int) -> None:
        """Divide bytes that may be kept from one tile to the next between the nonlinearities."""
        for activation in self.activations:
            activation.remembered = size // len(self.activations)

    def _last_uses(self) -> dict[str, str]:
        """The last step that takes the state of each."""
        return {name: step.name for step in self.steps.values() for name in step.inputs}

    def _reduced(self, state: State, name: str, pairs: bool) -> State:
        """A state with all pairs of positions, cut down to equal ones where the next step wants no more."""
        step = self.steps[name]
        return _equal_positions(state, step) if step.wanted and not pairs and step.positions else state


def _equal_positions(state: State, step: Step) -> State:
    def equal(k: Tensor) -> Tensor:
        return own_positions(k, len(step.positions))

    return [moments.map(equal) for moments in state]
