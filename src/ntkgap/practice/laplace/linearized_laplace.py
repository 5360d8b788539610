"""Linearized Laplace: the uncertainty of a trained network from its tangent kernel, exactly."""

import copy
from dataclasses import replace
from numbers import Real

import torch
from torch import Generator, Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import DataError, KernelError
from ntkgap.kernels import jacobian
from ntkgap.linalg import Evidence, EvidenceMaximum
from ntkgap.linalg.class_evidence import ClassEvidence, PrecisionMaximum
from ntkgap.linalg.evidence import Range
from ntkgap.linalg.likelihoods import TINY, Expansion, bernoulli, categorical, choose_likelihood, gaussian
from ntkgap.one_line import line_of
from ntkgap.practice.laplace.mode_warnings import FAR, SLACK, warn_of_distance, warn_of_slack
from ntkgap.practice.laplace.noise import Noise, OutputNoise, check_hyperparameters, no_noise
from ntkgap.practice.laplace.prediction import LaplacePrediction
from ntkgap.practice.laplace.weight_posterior import moments, weight_posterior
from ntkgap.practice.laplace.weight_prior import PriorMean, prior_displacement
from ntkgap.practice.training.losses import outputs_like

# Test points whose variances are had at once: their kernel with each other is computed along.
BLOCK = 64


class LinearizedLaplace:
    r"""Posterior of the network linearized at its present parameters θ, under θ' ~ N(θ_prior, I/δ).

    **Regression** (``"gaussian"``, noise σ²). With ỹ = y − f(X; θ) + J(θ − θ_prior), the linearized network says
    ỹ = J w + ε for w = θ' − θ_prior. Then

    .. math:: \mathrm{Var}\,f(x) = \delta^{-1} (k_{**} - k_*^\top (K + \delta\sigma^2 I)^{-1} k_*)
              = J(x) (\delta I + \sigma^{-2} J^\top J)^{-1} J(x)^\top, \qquad
              \log p(y) = \log N(\tilde y; 0, K/\delta + \sigma^2 I)

    No approximation is made beyond the linearization: K = JJᵀ is the full tangent kernel, in float64. One
    eigendecomposition serves every δ and σ².

    **Classes** (``"categorical"``, p = softmax(f); ``"bernoulli"``, p = 1/(1 + e^{−f})). The likelihood is
    expanded to second order in the outputs, with curvature S = RᵀR of every example (diag p − ppᵀ, or p(1 − p)):
    the generalized Gauss-Newton matrix JᵀSJ. Then

    .. math:: \mathrm{Cov}\,f(x) = \delta^{-1} (k_{**} - k_*^\top R^\top (R K R^\top + \delta I)^{-1} R k_*),
              \qquad \log p(D) \approx \log p(D \mid \theta)
              - \tfrac{\delta}{2} \lVert\theta - \theta_{\mathrm{prior}}\rVert^2
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
        check_hyperparameters(prior_precision, noise_variance if isinstance(noise_variance, Real) else 1.0)
        self.prior_precision = float(prior_precision)
        self.maximum: EvidenceMaximum | PrecisionMaximum | None = None
        self._model, self._told = copy.deepcopy(model).eval(), False
        self._step = prior_displacement(self._model, prior_mean)
        self._at = at = jacobian(self._model, data.x, dtype=torch.float64)
        self._shape = data.x.shape[1:]
        c = at.outputs.shape[1]
        self.likelihood, targets = choose_likelihood(likelihood, data.y, data.n_classes, c)
        outputs = outputs_like(at.outputs, targets)
        self._noise = OutputNoise()
        if self.likelihood == "gaussian":
            self._noise = OutputNoise.of(noise_variance, c)
            expansion = gaussian(outputs, targets, self._noise.of_outputs)
        elif noise_variance is not None:
            raise no_noise(self.likelihood)
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
        return self._noise.variance if self.likelihood == "gaussian" else None

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
        found = self.evidence.log_evidence(self.prior_precision, self._noise.scale)
        return found + self._noise.log_density_of_unit(len(self._at.outputs))

    @property
    def _class_evidence(self) -> ClassEvidence:
        distance = sum(float(step.square().sum()) for step in self._step.values())
        return ClassEvidence(self._expansion.log_likelihood, self._kappa, distance)

    def at(self, prior_precision: float, noise_variance: Noise | None = None) -> "LinearizedLaplace":
        """The same with another δ and σ²; nothing is decomposed again.

        Args:
            prior_precision: δ.
            noise_variance: σ² of regression, in the form that it was first given in; as it is if not given.

        Raises:
            KernelError: if a number is not positive and finite, or σ² is not what it was but for a factor.
        """
        noise = self._noise if noise_variance is None else self._rescale(noise_variance)
        check_hyperparameters(prior_precision, noise.scale)
        other = copy.copy(self)
        other.prior_precision, other._noise = float(prior_precision), noise
        other.maximum, other._told = None, False
        return other

    def _rescale(self, noise_variance: Noise) -> OutputNoise:
        if self.likelihood != "gaussian":
            raise no_noise(self.likelihood)
        return self._noise.rescale(noise_variance)

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
            fitted._noise = replace(self._noise, scale=best.noise_variance)
            fitted.maximum = best
            return fitted
        if noise_variance is not None:
            self._rescale(noise_variance)
        if prior_precision is not None:
            fitted = self.at(prior_precision)
            fitted.maximum = PrecisionMaximum(fitted.prior_precision, fitted.log_evidence, False)
            return fitted
        best = self._class_evidence.maximum(bounds)  # type: ignore[arg-type]
        fitted = self.at(best.prior_precision)
        fitted.maximum = best
        if (slack := fitted._slack()) > SLACK:
            warn_of_slack(best.prior_precision, slack)
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
        spread = self._noise.scale * (self._kappa / (self._kappa + self._ridge)).sum()
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
        return found.draw(count, generator)

    def _moments(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """f(x; θ) and f(x; θ) + J(x)(θ_MAP − θ), [k, C], and the covariance of f, [k, C, k, C]."""
        recipe = self._at.recipe if points.shape[1:] == self._shape else None
        found = moments(self._model, points, self.map_step(), self._posterior, self._ridge, recipe)
        return found[0], found[1], found[2] / self.prior_precision

    def _tell_distance(self) -> None:
        if self._told:
            return
        self._told = True
        if (far := self.distance_to_mode) > FAR:
            warn_of_distance(far, self.likelihood, self._ridge)

    @property
    def _ridge(self) -> float:
        return self.prior_precision * self._noise.scale
