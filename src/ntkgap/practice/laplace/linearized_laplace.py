"""Linearized Laplace: the uncertainty of a trained network from its tangent kernel, exactly."""

import copy
import warnings
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Generator, Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import AccuracyWarning, DataError, KernelError
from ntkgap.kernels import jacobian
from ntkgap.kernels.empirical.differentiable import differentiable_jacobian
from ntkgap.linalg import Evidence, EvidenceMaximum
from ntkgap.linalg.class_evidence import ClassEvidence, PrecisionMaximum
from ntkgap.linalg.class_probabilities import jittered_root
from ntkgap.linalg.evidence import Range
from ntkgap.linalg.likelihoods import TINY, Expansion, bernoulli, categorical, choose_likelihood, gaussian
from ntkgap.one_line import line_of
from ntkgap.practice.laplace.prediction import LaplacePrediction
from ntkgap.practice.laplace.weight_posterior import weight_posterior
from ntkgap.practice.laplace.weight_prior import (
    PriorMean,
    check_hyperparameters,
    noise_of_outputs,
    prior_displacement,
)
from ntkgap.practice.training.losses import outputs_like

# Test points whose variances are had at once: their kernel with each other is computed along.
BLOCK = 64

# Posterior standard deviations between the network's outputs and the most probable ones, above which it is said.
FAR = 1.0

# Squared length of the way to the mode in the metric of the posterior, over the number of effective parameters,
# above which the evidence of a classifier is said to count what would not be there.
SLACK = 0.5

Noise = float | Sequence[float] | Tensor


class LinearizedLaplace:
    r"""Posterior of the network linearized at its present parameters θ, under θ' ~ N(θ_prior, I/δ).

    **Regression** (``"gaussian"``, noise σ²). With ỹ = y − f(X; θ) + J(θ − θ_prior), the linearized network says
    ỹ = J w + ε for w = θ' − θ_prior. Then

    .. math:: \mathrm{Var} f(x) = \delta^{-1} (k_{**} - k_*^\top (K + \delta\sigma^2 I)^{-1} k_*)
              = J(x) (\delta I + \sigma^{-2} J^\top J)^{-1} J(x)^\top, \qquad
              \log p(y) = \log N(\tilde y; 0, K/\delta + \sigma^2 I)

    No approximation is made beyond the linearization: K = JJᵀ is the full tangent kernel, in float64. One
    eigendecomposition serves every δ and σ².

    **Classes** (``"categorical"``, p = softmax(f); ``"bernoulli"``, p = 1/(1 + e^{−f})). The likelihood is
    expanded to second order in the outputs, with curvature S = RᵀR of every example (diag p − ppᵀ, or p(1 − p)):
    the generalized Gauss-Newton matrix JᵀSJ. Then

    .. math:: \mathrm{Cov} f(x) = \delta^{-1} (k_{**} - k_*^\top R^\top (R K R^\top + \delta I)^{-1} R k_*), \qquad
              \log p(D) \approx \log p(D \mid \theta) - \tfrac{\delta}{2} \lVert\theta - \theta_{prior}\rVert^2
              - \tfrac12 \log\det(I + R K R^\top/\delta)

    which takes θ for the mode of the posterior. A network trained on another loss, or not to the end, is not
    there: with g the gradient of the negative log posterior the mode is at θ_MAP = θ − (JᵀSJ + δI)⁻¹g. Predictions
    warn once if on the training set the outputs there are away from the network's by more than the root mean
    square posterior standard deviation, ‖R J(θ_MAP − θ)‖² > tr(R Cov f Rᵀ); R = 1/σ in regression.

    Source: Immer, Korzepa, Bauer 2021, *Improving predictions of Bayesian neural nets via local linearization*.

    Args:
        model: the trained network, mapping [n, ...] to [n, C]; copied, so that training may go on, and taken in
            evaluation mode. The prior is over the parameters that require grad.
        data: training set, y of shape [n, C].
        likelihood: ``"gaussian"``, ``"categorical"`` or ``"bernoulli"``. If not given, data with classes
            (``data.n_classes``, or one-hot targets) are categorical, or Bernoulli where the network has one
            output; all others are Gaussian. A Gaussian fit of classes, as of a network trained on them by the
            squared loss, is had on request alone.
        prior_precision: δ.
        noise_variance: σ² of regression, for all outputs or for each, [C]; 1 if not given.
        prior_mean: θ_prior, as a network of the same architecture or its parameters by name; 0 if not given.
        route: ``"gram"`` decomposes RKRᵀ, [nC, nC]; ``"parameters"`` JᵀSJ, [P, P]; ``"auto"`` the smaller of them.
            All give the same numbers.

    Attributes:
        likelihood: its name.
        prior_precision: δ.
        noise_variance: σ², a number or [C]; None for classes.
        maximum: where the evidence is greatest, if ``fit_evidence`` made this one; else None.

    Raises:
        KernelError: if δ or σ² is not positive and finite, the likelihood or the route is unknown, classes are
            given a noise, the prior mean does not fit the network, or the matrix of the route is too large.
        DataError: if targets of classes are no probabilities.
        ModelError: if the outputs are not finite or have another shape than the targets, or there is no
            per-example Jacobian.

    Example:
        >>> x = torch.linspace(-2, 2, 20)[:, None]
        >>> data = ng.Dataset(x, torch.sin(2 * x))
        >>> net = ng.MLP(1, 1, 32, 1, bias_std=0.5, generator=torch.Generator().manual_seed(0))
        >>> _ = ng.train(net, data, learning_rate=0.01, steps=300, weight_decay=0.1)
        >>> laplace = ng.LinearizedLaplace(net, data, prior_precision=1.0, noise_variance=0.1)
        >>> found = laplace.predict(torch.tensor([[0.0], [6.0]]))
        >>> bool(found.std[0] < found.std[1])  # less sure far from the data
        True
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        *,
        likelihood: str | None = None,
        prior_precision: float = 1.0,
        noise_variance: Noise | None = None,
        prior_mean: PriorMean = None,
        route: str = "auto",
    ) -> None:
        noise = 1.0 if noise_variance is None else noise_variance
        check_hyperparameters(prior_precision, noise if isinstance(noise, Real) else 1.0)
        self.prior_precision = float(prior_precision)
        self.maximum: EvidenceMaximum | PrecisionMaximum | None = None
        self._model, self._told = copy.deepcopy(model).eval(), False
        self._step = prior_displacement(self._model, prior_mean)
        self._at = at = jacobian(self._model, data.x, dtype=torch.float64)
        self._shape = data.x.shape[1:]
        c = at.outputs.shape[1]
        self.likelihood, targets = choose_likelihood(likelihood, data.y, data.n_classes, c)
        outputs = outputs_like(at.outputs, targets)
        self._noise: Tensor | None = None  # of every output, in units of the scale
        self._scale = 1.0
        if self.likelihood == "gaussian":
            self._noise = noise_of_outputs(noise, c)
            self._scale = float(noise) if isinstance(noise, Real) else 1.0
            expansion = gaussian(outputs, targets, self._noise)
        elif noise_variance is not None:
            raise KernelError(
                f"noise_variance is of regression: likelihood {self.likelihood!r} has none; leave it out"
            )
        else:
            expansion = (categorical if self.likelihood == "categorical" else bernoulli)(outputs, targets)
        self._expansion: Expansion = expansion
        residual = expansion.slope + expansion.whiten(at.jvp(self._step))
        shapes = {name: step.shape for name, step in self._step.items()}
        self._posterior = weight_posterior(at, residual, shapes, route, expansion.root)

    def __repr__(self) -> str:
        n, outputs = self._at.outputs.shape
        more = {"prior_precision": self.prior_precision, "noise_variance": self.noise_variance}
        return line_of(self, repr(self.likelihood), f"{n} examples", f"{outputs} outputs", **more)

    @property
    def noise_variance(self) -> float | Tensor | None:
        """σ² of regression, one number or one for each output; None for classes."""
        if self.likelihood != "gaussian":
            return None
        return self._scale if self._noise is None else self._scale * self._noise

    @property
    def evidence(self) -> Evidence:
        """Of every δ and σ² in regression; where outputs have noise of their own, of ỹ in units of it.

        Raises:
            KernelError: for classes, whose evidence is not that of a linear-Gaussian model.
        """
        if self.likelihood != "gaussian":
            raise KernelError(
                f"evidence is of regression; with likelihood {self.likelihood!r} use log_evidence and "
                "fit_evidence()"
            )
        return self._posterior.evidence

    @property
    def log_evidence(self) -> float:
        """Logarithm of the evidence of the present δ and σ², in nats; of classes by Laplace's approximation."""
        if self.likelihood != "gaussian":
            return self._class_evidence.log_evidence(self.prior_precision)
        found = self.evidence.log_evidence(self.prior_precision, self._scale)
        return found if self._noise is None else found + self._unit

    @property
    def _class_evidence(self) -> ClassEvidence:
        distance = sum(float(step.square().sum()) for step in self._step.values())
        return ClassEvidence(self._expansion.log_likelihood, self._kappa, distance)

    @property
    def _unit(self) -> float:
        """Log density of ỹ for that of ỹ in units of each output's noise."""
        return 0.0 if self._noise is None else -0.5 * len(self._at.outputs) * float(self._noise.log().sum())

    def at(self, prior_precision: float, noise_variance: Noise | None = None) -> "LinearizedLaplace":
        """The same with another δ and σ²; nothing is decomposed again.

        Args:
            prior_precision: δ.
            noise_variance: σ² of regression, in the form that it was first given in; as it is if not given.

        Raises:
            KernelError: if a number is not positive and finite, or σ² is not what it was but for a factor.
        """
        scale = self._scale if noise_variance is None else self._scale_of(noise_variance)
        check_hyperparameters(prior_precision, scale)
        other = copy.copy(self)
        other.prior_precision, other._scale = float(prior_precision), scale
        other.maximum, other._told = None, False
        return other

    def _scale_of(self, noise_variance: Noise) -> float:
        if self.likelihood != "gaussian":
            raise KernelError(
                f"noise_variance is of regression: likelihood {self.likelihood!r} has none; leave it out"
            )
        if self._noise is None:
            check_hyperparameters(1.0, noise_variance)
            return float(noise_variance)  # type: ignore[arg-type]
        found = noise_of_outputs(noise_variance, len(self._noise))
        ratio = self._noise.new_zeros(2) if found is None else found / self._noise
        if not torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-12) or found is None:
            raise KernelError(
                "noise_variance was given for each output, and only a common factor of it can be changed; make "
                f"another LinearizedLaplace with {noise_variance!r}"
            )
        return float(ratio[0])

    def fit_evidence(
        self,
        prior_precision: float | None = None,
        noise_variance: float | None = None,
        bounds: tuple[Range, Range] | Range | None = None,
    ) -> "LinearizedLaplace":
        """The same with the δ and σ² of the greatest evidence; what is given is kept at that value.

        Args:
            prior_precision: δ, where it is not to be sought.
            noise_variance: σ² of regression, where it is not to be sought; where it was given for each output, the
                factor that all are multiplied by.
            bounds: of δ and of σ²; see ``Evidence.maximum``. Of classes, of δ alone: (low, high).
                ``maximum.at_edge`` says whether they decided.

        Warns:
            AccuracyWarning: if what of θ − θ_prior would vanish at the mode is more than half of the effective
                parameters γ of a classifier, ‖θ_MAP − θ‖² in the metric JᵀSJ + δI above γ/2. A network trained
                without weight decay keeps what of its start no data concern; −½δ‖θ − θ_prior‖² counts it, and δ
                comes out too small.

        Raises:
            KernelError: if a number is not positive and finite, or the bounds are not those that are asked for.
        """
        best: EvidenceMaximum | PrecisionMaximum
        if self.likelihood == "gaussian":
            best = self.evidence.maximum(prior_precision, noise_variance, bounds)  # type: ignore[arg-type]
            fitted = self.at(best.prior_precision)
            fitted._scale = best.noise_variance
            fitted.maximum = best
            return fitted
        if noise_variance is not None:
            self._scale_of(noise_variance)
        if prior_precision is not None:
            fitted = self.at(prior_precision)
            fitted.maximum = PrecisionMaximum(fitted.prior_precision, fitted.log_evidence, False)
            return fitted
        best = self._class_evidence.maximum(bounds)  # type: ignore[arg-type]
        fitted = self.at(best.prior_precision)
        fitted.maximum = best
        if (slack := fitted._slack()) > SLACK:
            warnings.warn(
                f"prior_precision {best.prior_precision:.3g} is not to be trusted: on the way to the mode of the "
                f"posterior the parameters would move by {slack:.2g} times the effective ones (squared length in "
                f"the metric of the posterior, limit {SLACK:g}); train with weight decay, as online_laplace does, "
                "or center the prior on the network's start, prior_mean=",
                AccuracyWarning,
                stacklevel=2,
            )
        return fitted

    def map_step(self) -> dict[str, Tensor]:
        """θ_MAP − θ by parameter: from the network's parameters to the mean of the posterior.

        For classes it is the mode of the expansion at θ, one Newton step with the Gauss-Newton matrix.
        """
        mean = self._posterior.mean(self._ridge)
        return {name: w - self._step[name] for name, w in mean.items()}

    def _slack(self) -> float:
        """‖θ_MAP − θ‖² in the metric JᵀSJ/s + δI, over the number of effective parameters; s the noise."""
        length = sum(float(step.square().sum()) for step in self.map_step().values())
        effective = float((self._kappa / (self._kappa + self._ridge)).sum())
        return self.distance_to_mode**2 + self.prior_precision * length / max(effective, TINY)

    @property
    def _kappa(self) -> Tensor:
        return self._posterior.evidence.eigenvalues

    @property
    def distance_to_mode(self) -> float:
        """How far the network's outputs on the training set are from the most probable ones, 0 at the mode.

        The root mean square in units of the posterior standard deviation, √(‖R J(θ_MAP − θ)‖² / tr(R Cov f Rᵀ)).
        """
        moved = self._expansion.whiten(self._at.jvp(self.map_step())).square().sum()
        spread = self._scale * (self._kappa / (self._kappa + self._ridge)).sum()
        return float((moved / spread.clamp_min(TINY)).sqrt())

    def predict(self, x: Tensor, covariance: bool = False) -> LaplacePrediction:
        """Means and variances of the outputs at points x of shape [k, ...].

        If x requires grad, what is returned has a graph to it. The Jacobian is then written out, kCP numbers.

        Args:
            x: inputs like those of training.
            covariance: return that of all points and outputs as well, which takes (kC)² numbers.

        Warns:
            AccuracyWarning: once, if the network is not at the mode.

        Raises:
            ModelError: if the network's outputs are not finite there.
            DataError: if the inputs are no tensor, empty or on another device.
        """
        if not isinstance(x, Tensor):
            raise DataError(f"x must be a torch.Tensor of shape [k, ...], got {type(x).__name__}")
        self._tell_distance()
        block = len(x) if covariance else BLOCK
        parts = [self._moments(points) for points in (x.split(max(block, 1)) if x.ndim else [x])]
        full = parts[0][2].permute(0, 2, 1, 3) if covariance else None
        means, linearized = (torch.cat([part[i] for part in parts]) for i in (0, 1))
        # Of every point alone, [k, C, C].
        own = torch.cat([part[2].diagonal(dim1=0, dim2=2).permute(2, 0, 1) for part in parts])
        return LaplacePrediction(means, linearized, own, self.noise_variance, full, self.likelihood)

    def probabilities(
        self, x: Tensor, method: str = "probit", *, samples: int = 1000, generator: Generator | None = None
    ) -> Tensor:
        """Predictive probabilities of classes, [k, C]: ``predict(x).probabilities(method)``.

        Raises:
            KernelError: if the likelihood is Gaussian, or the method unknown.
            ModelError, DataError: as ``predict`` does.
        """
        self._tell_distance()
        return self.predict(x).probabilities(method, samples=samples, generator=generator)

    def samples(self, x: Tensor, count: int, generator: Generator | None = None) -> Tensor:
        """Draws of the outputs at all points together, N(f(x; θ), Cov f), [count, k, C].

        Args:
            x: inputs like those of training; gradients reach those that require grad.
            count: number of draws.
            generator: source of the draws.

        Warns:
            AccuracyWarning: as ``predict`` does.

        Raises:
            KernelError: if the count is no positive integer.
            ModelError, DataError: as ``predict`` does.
        """
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise KernelError(f"count must be an integer of at least 1, got {count!r}")
        self._tell_distance()
        found = self.predict(x, covariance=True)
        assert found.covariance is not None
        mean, joint = found.network_mean, found.covariance.permute(0, 2, 1, 3)
        root = jittered_root(joint.reshape(mean.numel(), mean.numel()))
        noise = torch.randn(count, mean.numel(), generator=generator, dtype=mean.dtype).to(mean.device)
        return mean + (noise @ root.T).view(count, *mean.shape)

    def _moments(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """f(x; θ) and f(x; θ) + J(x)(θ_MAP − θ), [k, C], and the covariance of f, [k, C, k, C]."""
        step = self.map_step()
        if points.requires_grad and torch.is_grad_enabled():
            outputs, rows = differentiable_jacobian(self._model, points, torch.float64)
            k, c = outputs.shape
            moved = rows @ torch.cat([step[name].flatten() for name in step])
            spread = self._posterior.covariance_of(rows.reshape(k * c, -1), self._ridge)
        else:
            recipe = self._at.recipe if points.shape[1:] == self._shape else None
            at = jacobian(self._model, points, dtype=torch.float64, recipe=recipe)
            outputs, moved = at.outputs, at.jvp(step)
            k, c = outputs.shape
            spread = self._posterior.covariance(at, self._ridge)
        spread = (spread + spread.T) / (2 * self.prior_precision)
        # A variance is known up to rounding of k**; where almost nothing is left of it, that may be below 0.
        spread = spread - torch.diag(spread.diagonal().clamp(max=0))
        return outputs, outputs + moved, spread.view(k, c, k, c)

    def _tell_distance(self) -> None:
        if self._told:
            return
        self._told = True
        if (far := self.distance_to_mode) > FAR:
            loss = "squared" if self.likelihood == "gaussian" else "cross_entropy"
            warnings.warn(
                f"the network is not at the mode of its posterior with likelihood {self.likelihood!r}: on the "
                f"training set the most probable outputs are {far:.2g} posterior standard deviations away (root "
                f"mean square, limit {FAR:g}); train it longer on the loss {loss!r} with weight decay "
                f"{self._ridge:.3g}, choose prior_precision by fit_evidence(), or use linearized_mean",
                AccuracyWarning,
                stacklevel=3,
            )

    @property
    def _ridge(self) -> float:
        return self.prior_precision * self._scale
