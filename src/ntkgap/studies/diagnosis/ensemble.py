"""The uncertainty of a small ensemble, trained as the user trains, beside that of the NTK-GP."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ntkgap.errors import NtkgapError
from ntkgap.models.normalization import set_statistics
from ntkgap.practice import train_ensemble
from ntkgap.studies.claim import Claim
from ntkgap.studies.diagnosis.pair import Pair
from ntkgap.studies.diagnosis.problem import DiagnosisProblem
from ntkgap.studies.diagnosis.training_recipe import Recipe
from ntkgap.studies.figures import Table
from ntkgap.studies.findings import Findings
from ntkgap.studies.measured import Measured
from ntkgap.studies.uncertainty.ensembles.claims import payoff
from ntkgap.studies.uncertainty.ensembles.measure import compare_methods
from ntkgap.studies.uncertainty.ensembles.methods import Predictive, score
from ntkgap.studies.uncertainty.ensembles.prediction import Kernel, without_limit
from ntkgap.studies.uncertainty.ensembles.show import COLUMNS, score_rows

PROCESS = "ntk_gp_evidence"
ASKED = (f"{PROCESS}_nll_excess", f"{PROCESS}_crps_ratio")
LABELS = {"deep_ensemble": "ensemble of networks", PROCESS: "NTK-GP with K(θ₀)"}


def compare_uncertainty(
    problem: DiagnosisProblem,
    recipe: Recipe,
    pair: Pair,
    kernel: Kernel | None,
    place: tuple[int, int],
    findings: Findings,
) -> None:
    """Scores of an ensemble and of the NTK-GP on test targets.

    Args:
        problem: with the number of members.
        recipe: how the network was trained, and the other members are.
        pair: the network before and after, and the data.
        kernel: K(θ₀) on all examples; None where it takes too long.
        place: width and seed.
        findings: where to.
    """
    if not problem.members:
        return
    if not recipe.squared:
        findings.leave_out("the NTK-GP is of squared errors, and your loss is another", *ASKED)
        return
    if kernel is None:
        findings.leave_out("the kernel of all examples takes too many operations", *ASKED)
        return
    try:
        others = _others(problem, recipe, pair, place)
    except NtkgapError as error:  # one has diverged, as the network itself has not
        findings.leave_out(f"there is no ensemble: {error}", *ASKED)
        return
    if not bool(others.isfinite().all()):
        findings.leave_out("there is no ensemble: a member has diverged", *ASKED)
        return
    train, test = (d.to(torch.float64) for d in (pair.train, pair.test))
    said = without_limit(pair.before, kernel, train, test, "only the kernel at the start is asked for")
    findings.notes += said.notes
    outputs = torch.cat([pair.end_test[None], others])
    process = said.methods[PROCESS]
    score("deep_ensemble", Predictive(outputs.mean(0), outputs.std(0), process.noise_variance), test, findings)
    score(PROCESS, process, test, findings)
    compare_methods(findings, PROCESS)


def _others(problem: DiagnosisProblem, recipe: Recipe, pair: Pair, place: tuple[int, int]) -> Tensor:
    """Outputs on test inputs of the members besides the network itself, [M − 1, m, C], float64."""
    width, seed = place
    streams = np.random.SeedSequence([seed, width]).generate_state(problem.members).tolist()[1:]

    def member(i: int) -> nn.Module:
        network = problem.network(pair.train, width, Generator().manual_seed(streams[i]))
        set_statistics(network, pair.train.x)
        return network

    settings = recipe.settings if recipe.settings.get("fit") is None else recipe.settings | {"steps": None}
    trained = train_ensemble(
        member, pair.train, len(streams), inputs=pair.test.x, seeds=[s % 2**31 for s in streams], **settings
    )
    return trained.outputs[:, -1].double()


def ensemble_claims() -> list[Claim]:
    """That the NTK-GP is as good as the ensemble; those of the uncertainty study, for K(θ₀)."""
    mind = "The kernel is K(θ₀), the mean over outputs. "
    return [
        replace(
            claim,
            optional=True,
            caveat=mind + claim.caveat.replace(" The same at precision 1 stands in the table.", ""),
        )
        for claim in payoff()
        if claim.key.startswith(PROCESS)
    ]


def ensemble_tables(cells: Mapping[str, Sequence[Measured]]) -> list[Table]:
    """Scores at the largest width, one table a problem that has an ensemble."""
    tables = []
    for i, (problem, found) in enumerate(cells.items()):
        scored = [cell for cell in found if "deep_ensemble_nll" in cell.scalars]
        if not scored:
            continue
        width = max(cell.width for cell in scored)
        there = [cell.scalars for cell in scored if cell.width == width]
        tables.append(
            Table(
                key=f"uncertainty-{i}",
                title=f"Uncertainty of an ensemble and of the NTK-GP: {problem}, width {width}",
                caption="On test targets; medians over seeds with intervals; all but coverage better small, and "
                "coverage best near 0.95. To both spreads the noise is added that has the NTK-GP's greatest "
                "evidence.",
                columns=("", *(heading for heading, _ in COLUMNS)),
                rows=score_rows(LABELS, there),
            )
        )
    return tables
