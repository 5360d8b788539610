"""What linearized Laplace says about the outputs of a network, and about classes."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.class_probabilities import as_two_classes, class_probabilities, jittered_root
from ntkgap.one_line import one_line


@dataclass(frozen=True)
class LaplacePrediction:
    """What linearized Laplace says about k points; in float64.

    Attributes:
        network_mean: f(x; θ), what the network itself says, [k, C].
        linearized_mean: f(x; θ) + J(x)(θ_MAP − θ), the mean of the posterior, [k, C]. The two agree where training
            has converged on −log p(y | f) + ½δ‖θ − θ_prior‖².
        output_covariance: of the function, between the outputs of a point, without the noise of observations,
            [k, C, C].
        noise_variance: σ², a number or [C]; None for classes.
        covariance: of the function, between any two points and outputs, [k, k, C, C]; None if not asked for.
        likelihood: what observations are given the outputs.
    """

    network_mean: Tensor
    linearized_mean: Tensor
    output_covariance: Tensor
    noise_variance: float | Tensor | None
    covariance: Tensor | None = None
    likelihood: str = "gaussian"

    __repr__ = one_line

    @property
    def variance(self) -> Tensor:
        """Of the function, without the noise of observations, [k, C]."""
        return self.output_covariance.diagonal(dim1=1, dim2=2)

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
            raise KernelError("classes are observed without noise; use probabilities()")
        return (self.variance + self.noise_variance).sqrt()

    def draw(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draws from N(network_mean, covariance), the points together, [count, k, C].

        Args:
            count: how many.
            generator: source of randomness; torch's global one if not given.

        Raises:
            KernelError: if the covariance between points was not asked for.

        Example:
            >>> x = torch.linspace(-2, 2, 20)[:, None]
            >>> data = ng.Dataset(x, torch.sin(2 * x))
            >>> net = ng.MLP(1, 1, 32, 1, bias_std=0.5, generator=torch.Generator().manual_seed(0))
            >>> _ = ng.train(net, data, learning_rate=0.01, steps=300, weight_decay=0.1)
            >>> laplace = ng.LinearizedLaplace(net, data, prior_precision=1.0, noise_variance=0.1)
            >>> near = torch.tensor([[6.0], [6.1]])
            >>> draws = laplace.predict(near, covariance=True).draw(200, torch.Generator().manual_seed(0))
            >>> draws.shape
            torch.Size([200, 2, 1])
            >>> bool(torch.corrcoef(draws[:, :, 0].T)[0, 1] > 0.9)  # neighbors rise and fall together
            True
        """
        if self.covariance is None:
            raise KernelError("draws need the covariance between points; use predict(x, covariance=True)")
        mean, joint = self.network_mean, self.covariance.permute(0, 2, 1, 3)
        root = jittered_root(joint.reshape(mean.numel(), mean.numel()))
        noise = torch.randn(count, mean.numel(), generator=generator, dtype=mean.dtype).to(mean.device)
        return mean + (noise @ root.T).view(count, *mean.shape)

    def probabilities(
        self, method: str = "probit", *, samples: int = 1000, generator: Generator | None = None
    ) -> Tensor:
        """Predictive probabilities of classes, the mean of softmax(f) for f around the network's outputs, [k, C].

        Of a Bernoulli likelihood they are [k, 2], of the first class (0 or −1) and the second.

        Args:
            method: ``"probit"``, ``"monte_carlo"`` or ``"bridge"`` (the Laplace bridge): see
                ``kernels.class_probabilities``.
            samples: number of draws of ``"monte_carlo"``.
            generator: source of the draws.

        Raises:
            KernelError: if the likelihood is Gaussian, or the method unknown.
        """
        if self.likelihood == "gaussian":
            raise KernelError(
                "probabilities are of classes, but the likelihood is 'gaussian'; make a LinearizedLaplace with "
                "likelihood='categorical', or use network_mean and observation_std"
            )
        moments = self.network_mean, self.output_covariance
        if self.likelihood == "bernoulli":
            moments = as_two_classes(*moments)
        return class_probabilities(*moments, method, samples=samples, generator=generator)
