"""Ensembles of infinitely wide networks: the Gaussian that their members are draws from."""

from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.gaussian import Gaussian, as_covariance
from ntkgap.linalg.matrices import array, coarsest, coarsest_type, gram_matrix
from ntkgap.linalg.rounding import check_solve
from ntkgap.one_line import line_of
from ntkgap.theory.gaussian_process import NOISE_REMEDY, noisy_factor
from ntkgap.theory.kernel_modes import STOP_EARLIER, KernelModes

ENSEMBLE_REMEDY = f"{STOP_EARLIER}, or give the members noisy targets (RandomizedPriorEnsemble)"


class RandomStart:
    """The random functions that training starts from, f_0 ~ GP(m_0, Σ), at training and at new points.

    Args:
        nngp: Σ of the training inputs, [n, n], shared by all outputs; None if all members start from the
            same function, as antisymmetric initialization makes them.
        targets: y, [n, C].
        initial: m_0 on the training inputs, [n, C]; zero if not given.

    Raises:
        KernelError: if a shape does not fit or an entry is not finite.
    """

    def __init__(self, nngp: Tensor | None, targets: Tensor, initial: Tensor | None) -> None:
        self.targets = array(targets, "the targets", (None, None))
        self.n, self.outputs = self.targets.shape
        self.nngp = None if nngp is None else gram_matrix(nngp, "the NNGP Gram matrix", self.n)
        self.unit = coarsest(k for k in (nngp, targets) if k is not None)
        self.initial = None if initial is None else array(initial, "initial", (self.n, self.outputs))

    def residual(self) -> Tensor:
        """m_0(X) − y, [n, C]."""
        return -self.targets if self.initial is None else self.initial - self.targets

    def after(
        self,
        weights: Tensor,
        cross: Tensor | None,
        test: Tensor | None,
        initial: Tensor | None,
        noise: float = 0.0,
    ) -> Gaussian:
        r"""Distribution of f_0(x) − B(f_0(X) − y − ε) with ε ~ N(0, σ²).

        .. math:: V = \Sigma_{xx} + B (\Sigma_{XX} + \sigma^2 I) B^\top - B \Sigma_{Xx} - \Sigma_{xX} B^\top

        Args:
            weights: B, [..., k, n].
            cross: Σ of the new points with the training inputs, [k, n]; None where Σ is.
            test: Σ of the new points with themselves, [k, k]; None where Σ is.
            initial: m_0 on the new points, [k, C]; zero if not given.
            noise: σ².

        Raises:
            KernelError: if a shape does not fit, an entry is not finite, one of Σ's three blocks is missing, or
                a variance comes out negative.
        """
        k = weights.shape[-2]
        if (initial is None) != (self.initial is None):
            raise KernelError("give the initial function on both the training and the test points, or on neither")
        mean = -weights @ self.residual()
        if initial is not None:
            mean = mean + array(initial, "initial", (k, self.outputs))
        covariance = noise * weights @ weights.mT
        if self.nngp is None:
            if cross is not None or test is not None:
                raise KernelError("the ensemble was built with nngp=None, a fixed start: it takes no NNGP kernel")
            return Gaussian(mean, covariance)
        if cross is None or test is None:
            raise KernelError("nngp_cross and nngp_test are needed: the ensemble starts from random functions")
        sigma_x = array(cross, "nngp_cross", (k, self.n))
        sigma_xx = gram_matrix(test, "nngp_test", k)
        mixed = weights @ sigma_x.T
        covariance = covariance + sigma_xx + weights @ self.nngp @ weights.mT - mixed - mixed.mT
        scale = max(float(self.nngp.abs().max()), float(sigma_xx.abs().max()))
        return Gaussian(mean, as_covariance(covariance, weights, scale, max(self.unit, coarsest([cross, test]))))


class InfiniteEnsemble(KernelModes):
    r"""Infinitely wide networks, each trained from its own random start on ½‖f − y‖², while they are trained.

    With B_t = Θ_xX Θ⁻¹(I − d_t(Θ)), where d_t are the decay factors of the optimizer (see ``KernelModes``),

    .. math:: \mathrm{E}\,f_t(x) = m_0(x) + B_t (y - m_0(X)), \qquad
              \mathrm{Cov}\,f_t = \Sigma_{xx} + B_t \Sigma_{XX} B_t^\top - B_t \Sigma_{Xx} - \Sigma_{xX} B_t^\top .

    If only the readout layer is trained, the tangent kernel *is* the NNGP kernel: pass it as both (without
    noise the limit t → ∞ then is the NNGP posterior). No such reading exists if all layers are trained.
    Source: Lee et al. 2019, section 2.3.

    Args:
        ntk: Θ of the training inputs, one matrix shared by all outputs, [n, n].
        nngp: Σ of the training inputs, [n, n], or None if all members start from the same function.
        targets: y, [n, C].
        initial: m_0 on the training inputs, [n, C]; zero if not given.

    Raises:
        KernelError: if a shape does not fit, an entry is not finite or a Gram matrix is not symmetric.

    Example:
        >>> train, test = ng.load_data("digits", n_train=20, n_test=5)
        >>> limit = ng.infinite_width(ng.MLP(64, 10, 32, 2))
        >>> known, cross = limit.kernels(train.x.double()), limit.kernels(test.x.double(), train.x.double())
        >>> ensemble = ng.InfiniteEnsemble(known.ntk, known.nngp, train.y.double())
        >>> decay = ensemble.gradient_descent_decay(ng.theory.critical_learning_rate(known.ntk) / 2, 100)
        >>> predicted = ensemble.predict(decay, cross.ntk, cross.nngp, limit.nngp(test.x.double()))
        >>> predicted.mean.shape, predicted.std.shape
        (torch.Size([5, 10]), torch.Size([5]))
    """

    def __init__(self, ntk: Tensor, nngp: Tensor | None, targets: Tensor, initial: Tensor | None = None) -> None:
        self.start = RandomStart(nngp, targets, initial)
        super().__init__(ntk, "the NTK Gram matrix")
        if len(self.eigenvalues) != self.start.n:
            raise KernelError(
                f"the NTK Gram matrix must have shape ({self.start.n}, {self.start.n}) for targets of shape "
                f"{tuple(targets.shape)}, got {tuple(ntk.shape)}"
            )

    def predict(
        self,
        decay: Tensor,
        ntk_cross: Tensor,
        nngp_cross: Tensor | None = None,
        nngp_test: Tensor | None = None,
        initial: Tensor | None = None,
    ) -> Gaussian:
        """The members' distribution at k points.

        Args:
            decay: factors of one of the ``…_decay`` methods, [..., n].
            ntk_cross: Θ of the points with the training inputs, [k, n].
            nngp_cross: Σ of the points with the training inputs, [k, n].
            nngp_test: Σ of the points with themselves, [k, k].
            initial: m_0 on the points, [k, C]; zero if not given.

        Returns:
            mean [..., k, C] and covariance [..., k, k].

        Warns:
            AccuracyWarning: if the rounding of Θ decides the mean.

        Raises:
            KernelError: if a shape does not fit, an entry is not finite, a kernel is missing, or a variance comes
                out negative because the kernels do not belong together.
        """
        reach = array(ntk_cross, "ntk_cross", (None, self.start.n)) @ self.eigenvectors  # [k, n]
        weights = (reach * self.inverse_decay(decay)[..., None, :]) @ self.eigenvectors.T
        self.check_rounding(decay, self._residual_modes(), ENSEMBLE_REMEDY, ntk_cross)
        return self.start.after(weights, nngp_cross, nngp_test, initial)

    def predict_training(self, decay: Tensor) -> Gaussian:
        """The members' distribution on the training inputs: mean [..., n, C], covariance [..., n, n].

        The residual is d_t(Θ)(f_0(X) − y): exact also where Θ is singular and where training has converged.

        Warns:
            AccuracyWarning: if the rounding of Θ decides the mean.
        """
        self.check_decay(decay)
        self.check_rounding(decay, self._residual_modes(), ENSEMBLE_REMEDY)
        shrink = (self.eigenvectors * decay[..., None, :]) @ self.eigenvectors.T  # [..., n, n]
        mean = self.start.targets + shrink @ self.start.residual()
        nngp = self.start.nngp
        if nngp is None:
            return Gaussian(mean, shrink.new_zeros(shrink.shape))
        covariance = shrink @ nngp @ shrink
        return Gaussian(mean, as_covariance(covariance, shrink, float(nngp.abs().max()), self.start.unit))

    def _residual_modes(self) -> Tensor:
        """Uᵀ(m_0(X) − y), [n, C]."""
        return self.eigenvectors.T @ self.start.residual()


class RandomizedPriorEnsemble:
    r"""Infinitely wide networks, each pulled to its own random start and trained on its own noisy targets.

    Member i minimizes ‖f(X) − y − ε_i‖² + σ²‖θ − θ_i‖² with ε_i ~ N(0, σ²), from its random start θ_i, in NTK
    parametrization. With A = Θ_xX (Θ + σ²I)⁻¹ the members have

    .. math:: \mathrm{E}\,f(x) = m_0(x) + A (y - m_0(X)), \qquad \mathrm{Cov}\,f =
        \Sigma_{xx} + A (\Sigma_{XX} + \sigma^2 I) A^\top - A \Sigma_{Xx} - \Sigma_{xX} A^\top .

    With Σ = Θ, that is with a random function added to each member that makes up the difference, this is the
    posterior of the NTK-GP. Source: He, Lakshminarayanan, Teh 2020, section 3.

    Args:
        ntk: Θ of the training inputs, one matrix shared by all outputs, [n, n].
        nngp: Σ of the training inputs, [n, n], or None if all members start from the same function.
        targets: y, [n, C].
        noise_variance: σ².
        initial: m_0 on the training inputs, [n, C]; zero if not given.

    Attributes:
        jitter: what had to be added to the diagonal of Θ + σ²I beyond σ²; 0 unless a ``JitterWarning`` said so.

    Raises:
        KernelError: if a shape does not fit, an entry is not finite, a Gram matrix is not symmetric, or Θ + σ²I is
            not positive definite.

    Example:
        >>> x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> limit = ng.infinite_width(ng.MLP(3, 1, 32, 1).double())
        >>> known = limit.kernels(x)
        >>> y = x.sum(1, keepdim=True)
        >>> ensemble = ng.theory.RandomizedPriorEnsemble(known.ntk, known.nngp, y, noise_variance=0.1)
        >>> ensemble.predict(known.ntk[:2], known.nngp[:2], known.nngp[:2, :2]).mean.shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        ntk: Tensor,
        nngp: Tensor | None,
        targets: Tensor,
        noise_variance: float,
        initial: Tensor | None = None,
    ) -> None:
        self.start = RandomStart(nngp, targets, initial)
        gram_matrix(ntk, "the NTK Gram matrix", self.start.n)
        if getattr(noise_variance, "ndim", 0):
            raise KernelError("noise_variance must be one number: members train on targets of one noise")
        self.ntk, self.noise_variance = ntk, float(noise_variance)
        self.factor = noisy_factor(ntk, noise_variance, "the NTK Gram matrix")
        self.jitter = self.factor.jitter

    def __repr__(self) -> str:
        return line_of(self, f"{len(self.ntk)} examples", noise_variance=self.noise_variance)

    def predict(
        self,
        ntk_cross: Tensor,
        nngp_cross: Tensor | None = None,
        nngp_test: Tensor | None = None,
        initial: Tensor | None = None,
    ) -> Gaussian:
        """The members' distribution at k points: mean [k, C], covariance [k, k].

        Args:
            ntk_cross: Θ of the points with the training inputs, [k, n].
            nngp_cross: Σ of the points with the training inputs, [k, n].
            nngp_test: Σ of the points with themselves, [k, k].
            initial: m_0 on the points, [k, C]; zero if not given.

        Warns:
            AccuracyWarning: if the rounding of Θ decides the mean.

        Raises:
            KernelError: if a shape does not fit, an entry is not finite, a kernel is missing, or a variance comes
                out negative because the kernels do not belong together.
        """
        weights = self.factor.solve(array(ntk_cross, "ntk_cross", (None, self.start.n)).T).T
        residual, precision = self.start.residual(), coarsest_type([self.ntk, ntk_cross])
        duals = self.factor.solve(residual)
        check_solve(self.ntk, duals, residual, "the NTK Gram matrix", NOISE_REMEDY, precision)
        return self.start.after(weights, nngp_cross, nngp_test, initial, self.noise_variance)
