"""A study of one's own: do two draws of a network start with the same kernel?

At infinite width the kernel at initialization does not depend on the random weights (Jacot, Gabriel, Hongler 2018,
theorem 1). Two networks of width m that differ in their seed alone should have kernels that differ like m^(-1/2).

    ntkgap run examples/my_study.py:TwoDraws --preset small --store runs/draws
    ntkgap run examples/my_study.py:TwoDraws --preset small --model my_model.py:build --data mine.npz
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

import ntkgap as ng


class DrawsProblem(ng.studies.BaseProblem):
    """A network on data. ``name``, ``data``, ``model`` and ``widths`` come with every problem.

    Attributes:
        outputs: which part of the kernel is compared: ``"mean"`` over outputs or the ``"full"`` one.
    """

    outputs: str = "mean"

    def describe(self) -> str:
        """A line for the report."""
        return f"{self.data.n_train} examples of {self.data.name}, the {self.outputs} kernel."

    def example(self, seed: int) -> ng.Dataset:
        """Data of the shapes that networks have to take: the training set."""
        return self.data.load(seed)[0]


class TwoDraws(ng.studies.BaseStudy):
    """Do two draws of a network start with the same kernel?"""

    name: ClassVar[str] = "two_draws"
    version: ClassVar[int] = 1
    written: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {
            "description": "An MLP on digits at four widths - seconds.",
            "seeds": [0, 1, 2, 3, 4],
            "problems": [
                {
                    "name": "MLP, digits",
                    "model": {"architecture": "mlp", "depth": 2},
                    "data": {"name": "digits", "n_train": 20, "n_test": 10},
                    "widths": [16, 64, 256, 1024],
                }
            ],
        }
    }

    problems: Sequence[DrawsProblem] = Field(min_length=1)

    @classmethod
    def measure(cls, problem: DrawsProblem, width: int, seed: int) -> ng.studies.Findings:
        """Everything that is measured in one cell: scalars by name, curves, and remarks."""
        data = problem.example(seed).to(torch.float64)
        kernels = []
        for draw in range(2):
            stream = int(np.random.SeedSequence([seed, width, draw]).generate_state(1)[0])
            network = problem.network(data, width, torch.Generator().manual_seed(stream)).double()
            kernels.append(ng.empirical_ntk(network, data.x, outputs=problem.outputs))
        findings = ng.studies.Findings()
        difference = (kernels[0] - kernels[1]).norm() / kernels[0].norm()
        findings.scalars |= {"kernel_difference": float(difference), "theory": width**-0.5}
        return findings

    def claims(self) -> list[ng.studies.Claim]:
        """What the theory says, and the number that decides it."""
        return [
            ng.studies.Claim(
                key="same_kernel",
                title="Two draws start with the same kernel",
                question="Does the start not matter?",
                headline="two draws start with the same kernel",
                statement="K(θ₀) does not depend on the random weights.",
                source="Jacot, Gabriel, Hongler 2018, theorem 1",
                kind="consequence",
                quantity="kernel_difference",
                label="‖K − K′‖ / ‖K‖",
                threshold=0.1,
                direction="below",
                criterion="the kernels of two draws differ by less than 10 %",
                prediction="falls like m^(−1/2)",
                exponent=-0.5,
            )
        ]

    def figures(self) -> list[ng.studies.WidthFigure]:
        """What the report draws besides the claims."""
        return [
            ng.studies.WidthFigure(
                key="difference",
                title="How far two draws are apart",
                caption="Relative distance of the kernels of two networks that differ in their seed alone.",
                y_label="‖K − K′‖ / ‖K‖",
                measured="kernel_difference",
                references=(("theory", "theory: m^(−1/2), up to a factor"),),
            )
        ]
