"""Orthogonal gradient descent: later tasks move along no direction that matters to earlier ones' outputs."""

from dataclasses import dataclass
from numbers import Real
from operator import itemgetter
from typing import Literal

import torch
from torch import Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.continual.method import Learning, Memory, Method, Tensors
from ntkgap.practice.continual.output_gradients import gradients_at

# Bytes that stored directions may take.
BUDGET = 4e9

# Singular values below NOISE √P ε times the Frobenius norm of all directions are taken for rounding. Measured with
# P = 10³ to 4·10⁶ parameters, dependent directions leave 0.1 to 1.7. With P in place of √P the bound would exceed
# every direction of a wide network in single precision.
NOISE = 2.0


@dataclass(frozen=True)
class OGD(Method):
    r"""Project gradients off those of earlier tasks' outputs (Farajtabar et al. 2020).

    At the end of a task the gradients ∂f_c(x_i)/∂θ of stored examples join an orthonormal basis Q, and from then
    on g − QQᵀg is followed in place of g. To first order no output at a stored example changes: exactly none of a
    linear model. It holds for gradient descent with and without momentum; Adam bends directions, and the guarantee
    is lost.

    Attributes:
        examples: stored of every task, drawn at random by the network's seed, of each class as many as of the
            others; all if not given.
        directions: gradients of ``"all"`` the task's outputs, or only of the one of the example's ``"label"``.
        budget: bytes that stored directions may take.

    Raises:
        StudyError: if a setting is out of range; when training starts, if the directions would take more than
            that.

    Example:
        >>> stream = ng.continual.load_stream("rotated", "digits", n_train=10, n_test=10, tasks=2, flatten=True)
        >>> net = ng.MLP(64, 10, 8, 1)
        >>> method, stop = ng.continual.OGD(examples=4), ng.continual.Steps(5)
        >>> runs = ng.continual.train_tasks([net], stream, learning_rate=1e-3, stop=stop, method=method)
        >>> runs.scores[0].shape
        torch.Size([2, 2])
    """

    examples: int | None = None
    directions: Literal["all", "label"] = "all"
    budget: float = BUDGET

    def __post_init__(self) -> None:
        _check_count("examples", self.examples)
        if self.directions not in ("all", "label"):
            raise StudyError(f"directions must be 'all' or 'label', got {self.directions!r}")
        if isinstance(self.budget, bool) or not isinstance(self.budget, Real) or not self.budget > 0:
            raise StudyError(
                f"budget must be a number of bytes above 0, such as 4e9 for 4 GB; got {self.budget!r}"
            )

    def start(self, learning: Learning) -> Memory:
        """An empty basis."""
        return _Basis(learning, self, None)


@dataclass(frozen=True)
class PCAOGD(OGD):
    """``OGD`` that keeps of every task the leading principal directions of its gradients alone (Doan et al. 2021).

    Attributes:
        components: how many a task.

    Raises:
        StudyError: as ``OGD``.

    Example:
        >>> ng.continual.PCAOGD(components=10)
        PCAOGD(examples=None, directions='all', budget=4000000000.0, components=10)
    """

    components: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_count("components", self.components)

    def start(self, learning: Learning) -> Memory:
        """An empty basis."""
        return _Basis(learning, self, self.components)


class _Basis(Memory):
    """Orthonormal directions in parameters scaled by the roots of their learning rates.

    There the update −ηRg is −η√R(√R g): it leaves an output f alone if √R g has no part along √R ∂f. Directions
    are rows, so that both products of a step run through memory in order: each is as fast as the basis is read.
    """

    def __init__(self, learning: Learning, method: OGD, components: int | None) -> None:
        super().__init__(learning)
        self._method, self._components = method, components
        self._scale = {name: rate**0.5 for name, rate in learning.rates.items()}
        self._basis: Tensor | None = None  # [M, r, P]
        self._check_memory()

    def bend(self, gradients: Tensors) -> Tensors:
        if self._basis is None:
            return gradients
        flat = torch.cat([(g * self._scale[name]).flatten(1) for name, g in gradients.items()], dim=1)
        flat = flat - (self._basis.mT @ (self._basis @ flat[..., None]))[..., 0]
        parts = flat.split([g[0].numel() for g in gradients.values()], dim=1)
        return {
            name: part.reshape(g.shape) / self._scale[name]
            for (name, g), part in zip(gradients.items(), parts, strict=True)
        }

    def finish(self, phase: int, trained: Tensors) -> None:
        if phase == len(self.learning.lessons) - 1:
            return  # nothing comes after the last task
        new = self._directions(phase, trained)  # [M, r, P]
        # A network that diverged has no directions; NaN would end the decomposition for all.
        usable = torch.isfinite(torch.linalg.vector_norm(new, dim=(1, 2)))
        new = torch.where(usable[:, None, None], new, 0.0)
        if self._components is not None:
            vectors, values = _principal(new)
            new = (vectors * values[..., None])[:, : self._components]
        if self._basis is None:
            self._basis = _orthonormal(new, None)
        else:
            self._basis = torch.cat([self._basis, _orthonormal(new, self._basis)], dim=1)

    def _directions(self, phase: int, trained: Tensors) -> Tensor:
        learning = self.learning
        lesson = learning.lessons[phase].drawn(self._stored(phase), learning.generators)
        columns = lesson.mask[0].nonzero()[:, 0]
        # Sought among the task's own outputs: elsewhere stands 0, which is more than a sign of -1.
        labels = columns[lesson.y[..., columns].argmax(dim=-1)]  # [M, n]
        found = []
        for c in columns:
            gradients = gradients_at(learning.networks, trained, lesson.x, itemgetter(int(c)))
            flat = torch.cat([(g * self._scale[name]).flatten(2) for name, g in gradients.items()], dim=2)
            if self._method.directions == "label":
                flat = flat * (labels == c)[..., None]
            found.append(flat)
        if self._method.directions == "label":
            return sum(found[1:], start=found[0])
        return torch.cat(found, dim=1)

    def _stored(self, phase: int) -> int:
        size = len(self.learning.lessons[phase])
        return size if self._method.examples is None else min(size, self._method.examples)

    def _check_memory(self) -> None:
        lessons, networks = self.learning.lessons, self.learning.networks
        tasks = [
            self._stored(t) * (int(lesson.mask[0].sum()) if self._method.directions == "all" else 1)
            for t, lesson in enumerate(lessons[:-1])
        ]
        rows = sum(tasks)
        if self._components is not None:
            # Before the leading directions of a task are known, all of them are there.
            rows = sum(min(n, self._components) for n in tasks) + max(tasks)
        parameters = sum(p.numel() for p in networks.trained.values())
        size = rows * parameters * next(iter(networks.trained.values())).element_size()
        if size > self._method.budget:
            raise StudyError(
                f"orthogonal gradients would store {rows} directions of {parameters / len(networks):.0f} "
                f"parameters, {size / 1e9:.1f} GB; store fewer examples, use directions='label' or PCAOGD, or "
                f"raise budget={self._method.budget:g}"
            )


def _orthonormal(new: Tensor, basis: Tensor | None) -> Tensor:
    """Orthonormal directions of what is new beside a basis, [M, r, P]; zero where nothing is left to add."""
    total = torch.linalg.vector_norm(new, dim=(1, 2))
    if basis is not None:
        for _ in range(2):  # once leaves rounding of the size of what was taken away
            new = _beside(basis, new)
    vectors, values = _principal(new)
    noise = NOISE * new.shape[2] ** 0.5 * torch.finfo(new.dtype).eps * total
    if basis is not None:
        # What was small beside the basis still holds rounding along it, no longer small at unit length.
        vectors = torch.linalg.qr(_beside(basis, vectors).mT).Q.mT
    return (vectors * (values > noise[:, None])[..., None]).contiguous()


def _beside(basis: Tensor, directions: Tensor) -> Tensor:
    """What of directions, [M, k, P], lies along none of the basis."""
    return directions - (directions @ basis.mT) @ basis


def _principal(directions: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal principal directions [M, k, P] and their singular values [M, k], the largest first.

    The rows of Qᵀ alone would not do: one for a direction that depends on those before it is arbitrary, and
    later directions are partly along it.
    """
    q, r = torch.linalg.qr(directions.mT)
    vectors, values, _ = torch.linalg.svd(r, full_matrices=False)
    return vectors.mT @ q.mT, values


def _check_count(name: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise StudyError(f"{name} must be an integer of at least 1, got {value!r}")
