"""The Jacobian's drift along the path of a training: C′ at a few steps."""

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn

from ntkgap.kernels import jacobian, jacobian_change
from ntkgap.linalg import as_matrix
from ntkgap.models.devices import in_float64
from ntkgap.practice import TrainingCurve
from ntkgap.studies.findings import Findings
from ntkgap.studies.optimization.start import Start, distance
from ntkgap.theory import STABILITY_LIMIT, stability_constant


def observed_steps(steps: int, points: int) -> list[int]:
    """Steps in equal ratios from the first to the last, fewer where they coincide; of one point, the last."""
    return sorted({round(step) for step in np.geomspace(steps, 1, points)}) if steps > 0 else [0]


class PathDrift:
    """C′ = 3‖J(θ) − J(θ₀)‖₂/√λ_min(K(θ₀)) at a few steps of a training; ``observe`` is for ``train``.

    Args:
        network: what is trained, in any precision; its Jacobian is taken in float64.
        start: where it starts.
        steps: updates of the training.
        points: how many of them are looked at.

    Attributes:
        gram: the Gram matrix of the step that was observed last, [nC, nC].
    """

    def __init__(self, network: nn.Module, start: Start, steps: int, points: int) -> None:
        self._network, self._start = network, start
        self._steps = observed_steps(steps, points)
        self._drift: dict[int, float] = {}
        self.gram: Tensor = start.gram

    def observe(self, step: int) -> None:
        """Measure the drift, if it is a step to be looked at."""
        if step not in self._steps:
            return
        network = in_float64(copy.deepcopy(self._network)).eval()
        with torch.no_grad():
            lost = not all(p.isfinite().all() for p in [*network.parameters(), network(self._start.train.x)])
        if lost:
            self._drift[step] = math.inf
            return
        at = jacobian(network, self._start.train.x, recipe=self._start.at.recipe)
        self.gram = as_matrix(at.gram())
        self._drift[step] = jacobian_change(self.gram, as_matrix(at.gram(self._start.at)), self._start.gram)

    def record(self, name: str, curve: TrainingCurve, findings: Findings) -> None:
        """C′ at its largest and at the end, and the distance traveled, as scalars of that path's name."""
        c_prime = [stability_constant(d, self._start.lambda_min) for d in self._drift.values()]
        largest = max(c_prime, default=math.nan)
        finished = curve.stopped is None
        findings.scalars |= {
            # A path that ended early can still refute the condition, not speak for it.
            f"c_prime_{name}": largest if finished or largest >= STABILITY_LIMIT else math.nan,
            f"c_prime_{name}_end": c_prime[-1] if finished else math.nan,
            f"{name}_distance": distance(self._network, self._start.network) if finished else math.inf,
        }
