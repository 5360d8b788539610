"""How unstable the Jacobian is in the theorem's ball: a lower bound, from the path and from a search."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ntkgap.errors import KernelError, ModelError
from ntkgap.models import describe
from ntkgap.practice import search_jacobian_change
from ntkgap.studies.findings import Findings
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.optimization.start import Start
from ntkgap.theory import STABILITY_LIMIT, stability_constant


@dataclass
class Inside:
    """The largest change of the Jacobian on those points of a path that lie in the theorem's ball.

    Attributes:
        network: walks the path.
        keep: whether its parameters there are kept.
        drift: the largest ‖J(θ) − J(θ₀)‖₂ so far.
        point: θ there, if kept.
    """

    network: nn.Module
    keep: bool
    drift: float = 0.0
    point: Tensor | None = None

    def note(self, drift: float) -> None:
        """One more point inside."""
        if drift > self.drift:
            self.drift = drift
            if self.keep:
                self.point = torch.cat(
                    [p.detach().flatten() for p in self.network.parameters() if p.requires_grad]
                )


def may_search(problem: OptimizationProblem, network: nn.Module) -> bool:
    """Whether the ball of a network of this size is searched."""
    return problem.search is not None and describe(network).parameters <= problem.search.max_parameters


def search_ball(
    problem: OptimizationProblem, start: Start, seed: int, radius: float, inside: Inside, findings: Findings
) -> None:
    """A lower bound of C′ over the ball: from the path inside it, and from a search where one is asked for."""
    found = inside.drift
    if problem.search is not None and may_search(problem, start.network) and math.isfinite(radius):
        try:
            search = search_jacobian_change(
                start.network,
                start.train.x,
                radius,
                starts=problem.search.starts,
                steps=problem.search.steps,
                include=[] if inside.point is None else [inside.point],
                residual=start.at.outputs - start.train.y,
                generator=torch.Generator().manual_seed(seed),
            )
            found = max(found, search.largest)
        except (KernelError, ModelError) as error:
            findings.notes.append(f"the ball was not searched: {error}")
    c_prime = stability_constant(found, start.lambda_min)
    findings.scalars |= {
        "c_prime_ball": c_prime,
        # A lower bound can refute the condition, never confirm it.
        "c_prime_ball_refutes": c_prime if c_prime >= STABILITY_LIMIT else math.nan,
    }
