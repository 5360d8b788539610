"""What kernels of infinite width say of an ensemble problem: computed once for all widths of a seed."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import KernelError, ModelError
from ntkgap.kernels import empirical_ntk, infinite_width
from ntkgap.linalg import Evidence, Gaussian
from ntkgap.models.devices import in_float64
from ntkgap.practice.training.losses import squared_loss
from ntkgap.studies.device import moved, present
from ntkgap.studies.model import OwnModel
from ntkgap.studies.uncertainty.ensembles.comparison import Comparison
from ntkgap.studies.uncertainty.ensembles.methods import Predictive
from ntkgap.studies.uncertainty.ensembles.problem import EnsembleProblem
from ntkgap.studies.uncertainty.noise import NOISE_BOUNDS
from ntkgap.theory import GaussianProcess, InfiniteEnsemble, RandomizedPriorEnsemble, critical_learning_rate

# Any width does: in NTK parametrization the limit does not depend on it.
ANY_WIDTH = 8

# No prior precision is sought beyond these; networks are drawn from one of 1.
PRECISION_BOUNDS = (1e-4, 1e4)


@dataclass(frozen=True)
class Kernel:
    """One kernel on training and test inputs.

    Attributes:
        train: [n, n].
        cross: of test with training inputs, [k, n].
        test: [k, k].
    """

    train: Tensor
    cross: Tensor
    test: Tensor


@dataclass(frozen=True)
class Prediction:
    """What is known of an ensemble before a network is built.

    Attributes:
        train: training set, float64.
        test: test set, float64.
        largest_eigenvalue: κ_max(Θ).
        noise_variance: σ² of the greatest evidence of the NNGP, the infinitely wide Bayesian network, which
            ensembles and Laplace take over; of the NTK-GP where no NNGP is known.
        expected_initial_loss: of ½‖f − y‖² over random starts.
        comparison: the members' distribution at the observed steps, with its floor; None where no limit is known.
        methods: what needs no network: NTK-GP, NNGP, and the infinite counterparts of both ensembles.
        notes: remarks.
        no_limit: why no kernel of infinite width is known; empty where one is. Θ is then the kernel of one network
            of this width at its start.
    """

    train: Dataset
    test: Dataset
    largest_eigenvalue: float
    noise_variance: float
    expected_initial_loss: float
    comparison: Comparison | None
    methods: dict[str, Predictive]
    notes: list[str]
    no_limit: str = ""


def predict(problem: EnsembleProblem, width: int, seed: int) -> Prediction:
    """The prediction for a seed; the last few are kept.

    Raises:
        NtkgapError: if the data cannot be loaded, or no limit is known for one of our networks.
    """
    # Of a user's network the limit may depend on the width, by its parametrization.
    at = width if isinstance(problem.model, OwnModel) else ANY_WIDTH
    same = problem.model_copy(update={"name": "", "widths": [at], "variations": None})
    return _predict(same.model_dump_json(), seed, str(present()))


@lru_cache(maxsize=8)
def _predict(problem_json: str, seed: int, at: str) -> Prediction:
    problem = EnsembleProblem.model_validate_json(problem_json)
    train, test = (in_float64(moved(d)) for d in problem.data.load(seed))
    network = in_float64(problem.network(train, problem.widths[0], Generator().manual_seed(0)))
    try:
        ntk, nngp = kernels(network, train, test)
    except (KernelError, ModelError) as error:
        if not isinstance(problem.model, OwnModel):
            raise
        ntk = kernel_at_start(network, train, test)
        return without_limit(network, ntk, train, test, f"no infinite-width kernel: {error}")
    notes: list[str] = []
    noise, ntk_noise = _noise(nngp, train, "NNGP", notes), _noise(ntk, train, "NTK-GP", notes)

    critical = critical_learning_rate(ntk.train)
    steps = problem.training.observed_steps
    ensemble = InfiniteEnsemble(ntk.train, nngp.train, train.y)
    decay = ensemble.gradient_descent_decay(problem.training.fraction_of_critical * critical, torch.tensor(steps))
    members = ensemble.predict(decay, ntk.cross, nngp.cross, nngp.test)
    anchored = RandomizedPriorEnsemble(ntk.train, nngp.train, train.y, noise)
    methods = {
        "ntk_gp": Predictive.of(_posterior(ntk, train, ntk_noise), ntk_noise),
        "ntk_gp_evidence": _fit_evidence(ntk, train, "NTK-GP", notes),
        "nngp": Predictive.of(_posterior(nngp, train, noise), noise),
        "nngp_evidence": _fit_evidence(nngp, train, "NNGP", notes),
        "infinite_ensemble": Predictive.of(Gaussian(members.mean[-1], members.covariance[-1]), noise),
        "infinite_prior": Predictive.of(anchored.predict(ntk.cross, nngp.cross, nngp.test), noise),
    }
    comparison = Comparison.of(members, problem.members, Generator().manual_seed(seed))
    start = 0.5 * float(train.y.square().sum() + train.n_outputs * nngp.train.trace())
    return Prediction(train, test, 2 / critical, noise, start, comparison, methods, notes)


def kernel_at_start(network: nn.Module, train: Dataset, test: Dataset) -> Kernel:
    """The kernel of a finite network as it is, mean over outputs, on training and test inputs."""
    (ntk,) = _parts(len(train), empirical_ntk(network, torch.cat([train.x, test.x]), outputs="mean"))
    return ntk


def without_limit(network: nn.Module, ntk: Kernel, train: Dataset, test: Dataset, reason: str) -> Prediction:
    """What the kernel of a finite network at its start says, where no limit is known, or none is asked for.

    Args:
        network: at its start.
        ntk: its kernel.
        train: training set, float64.
        test: test set, float64.
        reason: why there is no limit.
    """
    notes: list[str] = []
    noise = _noise(ntk, train, "NTK-GP", notes)
    with torch.no_grad():
        start = squared_loss(network(train.x).reshape(train.y.shape), train.y).item()
    methods = {
        "ntk_gp": Predictive.of(_posterior(ntk, train, noise), noise),
        "ntk_gp_evidence": _fit_evidence(ntk, train, "NTK-GP", notes),
    }
    largest = 2 / critical_learning_rate(ntk.train)
    return Prediction(train, test, largest, noise, start, None, methods, notes, reason)


def kernels(network: nn.Module, train: Dataset, test: Dataset) -> tuple[Kernel, Kernel]:
    """NTK Θ and NNGP kernel Σ of the infinitely wide network on training and test inputs.

    Raises:
        NtkgapError: if none is known.
    """
    found = infinite_width(network).kernels(torch.cat([train.x, test.x]))
    ntk, nngp = _parts(len(train), found.ntk, found.nngp)
    return ntk, nngp


def _parts(n: int, *grams: Tensor) -> list[Kernel]:
    return [Kernel(k[:n, :n], k[n:, :n], k[n:, n:]) for k in grams]


def noise_bounds(data: Dataset) -> tuple[float, float]:
    """Between which σ² is sought."""
    size = float(data.y.square().mean())
    return NOISE_BOUNDS[0] * size, NOISE_BOUNDS[1] * size


def _noise(kernel: Kernel, data: Dataset, name: str, notes: list[str]) -> float:
    """σ² of the greatest evidence of the process with this kernel as it is."""
    bounds = ((0.5, 2.0), noise_bounds(data))  # of the precision, which is given, and the noise
    best = Evidence(kernel.train, data.y).maximum(prior_precision=1.0, bounds=bounds)
    if best.at_edge:
        notes.append(
            f"the evidence of the {name} decides no noise: σ² = {best.noise_variance:.1e} is at its bounds"
        )
    return best.noise_variance


def _fit_evidence(kernel: Kernel, data: Dataset, name: str, notes: list[str]) -> Predictive:
    """The process with the kernel over the prior precision, this and the noise those of the greatest evidence."""
    best = Evidence(kernel.train, data.y).maximum(bounds=(PRECISION_BOUNDS, noise_bounds(data)))
    if best.at_edge:
        notes.append(f"the evidence of the {name} over prior precision and noise is greatest at the bounds")
    scaled = Kernel(*(k / best.prior_precision for k in (kernel.train, kernel.cross, kernel.test)))
    return Predictive.of(_posterior(scaled, data, best.noise_variance), best.noise_variance)


def _posterior(kernel: Kernel, data: Dataset, noise: float) -> Gaussian:
    return GaussianProcess(kernel.train, data.y, noise).predict(kernel.cross, kernel.test)
