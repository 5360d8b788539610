"""Where a cell of the optimization study starts: data, network, and the kernels at initialization."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import DataError, KernelError
from ntkgap.kernels import Jacobian, jacobian, relative_change, target_alignment
from ntkgap.linalg import as_matrix, spectrum
from ntkgap.models import describe
from ntkgap.models.devices import in_float64
from ntkgap.models.normalization import freeze_statistics, set_statistics
from ntkgap.studies.findings import Findings
from ntkgap.studies.model import ModelSpec, notes_on
from ntkgap.studies.optimization.limit import infinite_width_gram
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.optimization.required_width import width_scalar
from ntkgap.studies.optimization.singular import singular_rows
from ntkgap.theory import KernelDynamics, required_width
from ntkgap.theory.width_bounds import BOUNDS


@dataclass
class Start:
    """The network at initialization and the kernel there, shared by all measurements of a cell."""

    network: nn.Module
    train: Dataset
    test: Dataset
    at: Jacobian
    gram: Tensor  # [nC, nC]
    lambda_min: float  # NaN where it is below the noise floor
    dynamics: KernelDynamics
    limit_dynamics: KernelDynamics | None  # of the infinite-width kernel, where there is one

    @property
    def residual_norm(self) -> float:
        """‖f(θ₀) − y‖₂ on the training set."""
        return (self.at.outputs - self.train.y).norm().item()


def initialize(problem: OptimizationProblem, width: int, seed: int, findings: Findings) -> Start:
    """Draw data and network, and describe the kernel at initialization."""
    train_data, test_data = (in_float64(d) for d in problem.load(seed))
    # One stream a (seed, width): networks of different widths are independent draws.
    stream = int(np.random.SeedSequence([seed, width]).generate_state(1)[0])
    network = in_float64(problem.network(train_data, width, torch.Generator().manual_seed(stream)))
    set_statistics(network, train_data.x)
    if isinstance(problem.model, ModelSpec):
        freeze_statistics(network)  # a constant kernel describes no others
    findings.notes += notes_on(network)
    at = jacobian(network, train_data.x)
    gram = as_matrix(at.gram())
    found = spectrum(gram)
    n_parameters = describe(network).parameters
    if found.positive_definite:
        margin = found.lambda_min / found.noise_floor
    else:
        # Fewer parameters than rows make K singular for certain; otherwise arithmetic cannot tell.
        margin = 0.0 if n_parameters < len(gram) else math.nan
        findings.notes.append(f"λ_min = {found.lambda_min:.2e} is below the noise floor {found.noise_floor:.2e}")
        findings.notes += singular_rows(train_data, gram)
    residual = at.outputs - train_data.y
    limit = infinite_width_gram(problem, network, train_data, seed, findings)
    start = Start(
        network,
        train_data,
        test_data,
        at,
        gram,
        found.lambda_min if found.positive_definite else math.nan,
        KernelDynamics(gram, residual),
        None if limit is None else KernelDynamics(limit, residual),
    )
    findings.scalars |= {
        "n_parameters": n_parameters,
        "gram_rows": len(gram),
        "lambda_min": found.lambda_min,
        "lambda_max": found.lambda_max,
        "noise_floor": found.noise_floor,
        "gram_margin": margin,
        "condition_number": found.condition_number,
        "effective_rank": found.effective_rank,
        "target_alignment": target_alignment(gram, train_data.y),
        "initial_residual": start.residual_norm,
    }
    findings.scalars |= compare_with_limit(gram, limit)
    add_required_widths(train_data.x, max(1, describe(network).depth), findings)
    return start


def add_required_widths(x: Tensor, depth: int, findings: Findings) -> None:
    """Note the widths that theorems ask for on these inputs; NaN where they say nothing."""
    widths = dict.fromkeys((width_scalar(bound.name) for bound in BOUNDS), math.nan)
    try:
        # The data were read in float32, and it is there that inputs are told apart.
        widths |= {width_scalar(b.name): b.width for b in required_width(x.float(), depth=depth).bounds}
    except (DataError, KernelError) as error:
        findings.notes.append(f"no width that theory asks for: {error}")
    findings.scalars |= widths


def compare_with_limit(gram: Tensor, limit: Tensor | None) -> dict[str, float]:
    """Extreme eigenvalues at infinite width, and how far the kernel at initialization is from it."""
    if limit is None:
        return dict.fromkeys(("limit_lambda_min", "limit_condition_number", "limit_distance"), math.nan)
    found = spectrum(limit)
    return {
        "limit_lambda_min": found.lambda_min if found.positive_definite else math.nan,
        "limit_condition_number": found.condition_number,
        "limit_distance": relative_change(gram, limit) if gram.any() and limit.any() else math.nan,
    }


def distance(network: nn.Module, initial: nn.Module) -> float:
    """‖θ − θ₀‖₂."""
    pairs = zip(network.parameters(), initial.parameters(), strict=True)
    return norm(p - q for p, q in pairs)


def norm(tensors: Iterable[Tensor]) -> float:
    """Euclidean norm of all entries together."""
    return math.sqrt(sum(t.detach().square().sum().item() for t in tensors))
