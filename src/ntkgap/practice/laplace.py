"""Linearised Laplace: the uncertainty of a trained network from its tangent kernel, exactly."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import DataError
from ntkgap.kernels import Evidence, EvidenceMaximum, jacobian
from ntkgap.kernels.evidence import Range
from ntkgap.practice.losses import outputs_like
from ntkgap.practice.weight_posterior import weight_posterior
from ntkgap.practice.weight_prior import PriorMean, check_hyperparameters, prior_displacement

# Test points whose variances are had at once: their kernel with each other is computed along.
BLOCK = 64


@dataclass(frozen=True)
class LaplacePrediction:
    """What linearised Laplace says about k points; in float64.

    Attributes:
        network_mean: f(x; θ), what the network itself says, [k, C].
        linearized_mean: f(x; θ) + J(x)(θ_MAP − θ), the mean of the posterior, [k, C]. The two agree where training
            has converged on ½‖f − y‖²/σ² + ½δ‖θ − θ_prior‖².
        variance: of the function, without the noise of observations, [k, C].
        noise_variance: σ².
        covariance: of the function, between any two points and outputs, [k, k, C, C]; None if not asked for.
    """

    network_mean: Tensor
    linearized_mean: Tensor
    variance: Tensor
    noise_variance: float
    covariance: Tensor | None = None

    @property
    def std(self) -> Tensor:
        """Standard deviation of the function, [k, C]."""
        return self.variance.sqrt()

    @property
    def observation_std(self) -> Tensor:
        """Standard deviation of a noisy observation, √(variance + σ²), [k, C]: what calibration is about."""
        return (self.variance + self.noise_variance).sqrt()


class LinearizedLaplace:
    r"""Posterior of the network linearised at its present parameters θ, under θ' ~ N(θ_prior, I/δ) and noise σ².

    With ỹ = y − f(X; θ) + J(θ − θ_prior), the linearised network says ỹ = J w + ε for w = θ' − θ_prior. Then

    .. math:: \mathrm{Var} f(x) = \delta^{-1} (k_{**} - k_*^\top (K + \delta\sigma^2 I)^{-1} k_*)
              = J(x) (\delta I + \sigma^{-2} J^\top J)^{-1} J(x)^\top, \qquad
              \log p(y) = \log N(\tilde y; 0, K/\delta + \sigma^2 I)

    No approximation is made beyond the linearisation: K = JJᵀ is the full tangent kernel, in float64. One
    eigendecomposition serves every δ and σ².
    Source: Immer, Korzepa, Bauer 2021, *Improving predictions of Bayesian neural nets via local linearization*.

    Args:
        model: the trained network, mapping [n, ...] to [n, C]; copied, so that training may go on, and taken in
            evaluation mode. The prior is over the parameters that require grad.
        data: training set, y of shape [n, C]; regression, or classes as numbers.
        prior_precision: δ.
        noise_variance: σ².
        prior_mean: θ_prior, as a network of the same architecture or its parameters by name; 0 if not given.
        route: ``"gram"`` decomposes JJᵀ, [nC, nC]; ``"parameters"`` JᵀJ, [P, P]; ``"auto"`` the smaller of them.
            All give the same numbers.

    Attributes:
        prior_precision: δ.
        noise_variance: σ².
        maximum: where the evidence is greatest, if ``fit_evidence`` made this one; else None.

    Raises:
        KernelError: if δ or σ² is not positive and finite, the prior mean does not fit the network, or the route
            is unknown or its matrix too large.
        ModelError: if the outputs are not finite or have another shape than the targets, or there is no
            per-example Jacobian.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        *,
        prior_precision: float = 1.0,
        noise_variance: float = 1.0,
        prior_mean: PriorMean = None,
        route: str = "auto",
    ) -> None:
        check_hyperparameters(prior_precision, noise_variance)
        self.prior_precision, self.noise_variance = float(prior_precision), float(noise_variance)
        self.maximum: EvidenceMaximum | None = None
        self._model = copy.deepcopy(model).eval()
        self._step = prior_displacement(self._model, prior_mean)
        at = jacobian(self._model, data.x, dtype=torch.float64)
        residual = data.y.double() - outputs_like(at.outputs, data.y) + at.jvp(self._step)
        shapes = {name: step.shape for name, step in self._step.items()}
        self._posterior = weight_posterior(at, residual, shapes, route)

    @property
    def evidence(self) -> Evidence:
        """Of every δ and σ²."""
        return self._posterior.evidence

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence of the present δ and σ², in nats."""
        return self.evidence.log_evidence(self.prior_precision, self.noise_variance)

    def at(self, prior_precision: float, noise_variance: float) -> "LinearizedLaplace":
        """The same with another δ and σ²; nothing is decomposed again."""
        check_hyperparameters(prior_precision, noise_variance)
        other = copy.copy(self)
        other.prior_precision, other.noise_variance = float(prior_precision), float(noise_variance)
        other.maximum = None
        return other

    def fit_evidence(
        self,
        prior_precision: float | None = None,
        noise_variance: float | None = None,
        bounds: tuple[Range, Range] | None = None,
    ) -> "LinearizedLaplace":
        """The same with the δ and σ² of the greatest evidence; what is given is kept at that value.

        Args:
            prior_precision: δ, where it is not to be sought.
            noise_variance: σ², where it is not to be sought.
            bounds: of δ and of σ²; see ``Evidence.maximum``. ``maximum.at_edge`` says whether they decided.

        Raises:
            KernelError: if a number is not positive and finite, or the bounds are no two ranges.
        """
        best = self.evidence.maximum(prior_precision, noise_variance, bounds)
        fitted = self.at(best.prior_precision, best.noise_variance)
        fitted.maximum = best
        return fitted

    def map_step(self) -> dict[str, Tensor]:
        """θ_MAP − θ by parameter: from the network's parameters to the mean of the posterior."""
        mean = self._posterior.mean(self._ridge)
        return {name: w - self._step[name] for name, w in mean.items()}

    def predict(self, x: Tensor, covariance: bool = False) -> LaplacePrediction:
        """Means and variances at points x of shape [k, ...].

        Args:
            x: inputs like those of training.
            covariance: return that of all points and outputs as well, which takes (kC)² numbers.

        Raises:
            ModelError: if the network's outputs are not finite there.
            DataError: if the inputs are no tensor, empty or on another device.
        """
        if not isinstance(x, Tensor):
            raise DataError(f"x must be a torch.Tensor of shape [k, ...], got {type(x).__name__}")
        step = self.map_step()
        block = len(x) if covariance else BLOCK
        means, linearized, variances, full, recipe = [], [], [], None, None
        for points in x.split(max(block, 1)) if x.ndim else [x]:
            at = jacobian(self._model, points, dtype=torch.float64, recipe=recipe)
            recipe = at.recipe
            spread = self._posterior.covariance(at, self._ridge) / self.prior_precision
            # A variance is known up to rounding of k**; where almost nothing is left of it, that may be below 0.
            spread.diagonal().clamp_(min=0)
            k, c = at.outputs.shape
            means.append(at.outputs)
            linearized.append(at.outputs + at.jvp(step))
            variances.append(spread.diagonal().view(k, c).clone())
            if covariance:
                full = ((spread + spread.T) / 2).view(k, c, k, c).permute(0, 2, 1, 3)
        return LaplacePrediction(
            torch.cat(means), torch.cat(linearized), torch.cat(variances), self.noise_variance, full
        )

    @property
    def _ridge(self) -> float:
        return self.prior_precision * self.noise_variance
