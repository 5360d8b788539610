"""What linearised Laplace says about the outputs of a network."""

from dataclasses import dataclass

from torch import Tensor

from ntkgap.errors import KernelError


@dataclass(frozen=True)
class LaplacePrediction:
    """What linearised Laplace says about k points; in float64.

    Attributes:
        network_mean: f(x; θ), what the network itself says, [k, C].
        linearized_mean: f(x; θ) + J(x)(θ_MAP − θ), the mean of the posterior, [k, C]. The two agree where training
            has converged on −log p(y | f) + ½δ‖θ − θ_prior‖².
        variance: of the function, without the noise of observations, [k, C].
        noise_variance: σ², a number or [C]; None for classes.
        covariance: of the function, between any two points and outputs, [k, k, C, C]; None if not asked for.
    """

    network_mean: Tensor
    linearized_mean: Tensor
    variance: Tensor
    noise_variance: float | Tensor | None
    covariance: Tensor | None = None

    @property
    def std(self) -> Tensor:
        """Standard deviation of the function, [k, C]."""
        return self.variance.sqrt()

    @property
    def observation_std(self) -> Tensor:
        """Standard deviation of a noisy observation, √(variance + σ²), [k, C]: what calibration is about.

        Raises:
            KernelError: for classes, which are not observed with noise.
        """
        if self.noise_variance is None:
            raise KernelError("classes are observed without noise; use LinearizedLaplace.probabilities()")
        return (self.variance + self.noise_variance).sqrt()
