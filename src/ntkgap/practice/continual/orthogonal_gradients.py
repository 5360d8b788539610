"""Orthogonal gradient descent: later tasks move along no direction that matters to earlier ones' outputs."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

import torch
from torch import Tensor

from ntkgap.errors import StudyError
from ntkgap.practice.continual.method import Learning, Memory, Method, Tensors
from ntkgap.practice.continual.output_gradients import gradients_at

# Bytes that stored directions may take.
BUDGET = 4e9


@dataclass(frozen=True)
class OGD(Method):
    r"""Project gradients off those of earlier tasks' outputs (Farajtabar et al. 2020).

    At the end of a task the gradients ∂f_c(x_i)/∂θ of stored examples join an orthonormal basis Q, and from then
    on g − QQᵀg is followed in place of g. To first order no output at a stored example changes: exactly none of a
    linear model. It holds for gradient descent with and without momentum; Adam bends directions, and the guarantee
    is lost.

    Attributes:
        examples: stored of every task; all if not given.
        directions: gradients of ``"all"`` the task's outputs, or only of the one of the example's ``"label"``.
        budget: bytes that stored directions may take.

    Raises:
        StudyError: if a setting is out of range; when training starts, if the directions would take more than
            that.
    """

    examples: int | None = None
    directions: Literal["all", "label"] = "all"
    budget: float = BUDGET

    def __post_init__(self) -> None:
        _check_count("examples", self.examples)
        if self.directions not in ("all", "label"):
            raise StudyError(f"directions must be 'all' or 'label', got {self.directions!r}")

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

    There the update −ηRg is −η√R(√R g): it leaves an output f alone if √R g has no part along √R ∂f.
    """

    def __init__(self, learning: Learning, method: OGD, components: int | None) -> None:
        super().__init__(learning)
        self._method, self._components = method, components
        self._scale = {name: rate**0.5 for name, rate in learning.rates.items()}
        self._basis: Tensor | None = None  # [M, P, r]
        self._check_memory()

    def bend(self, gradients: Tensors) -> Tensors:
        if self._basis is None:
            return gradients
        flat = torch.cat([(g * self._scale[name]).flatten(1) for name, g in gradients.items()], dim=1)
        flat = flat - (self._basis @ (self._basis.mT @ flat[..., None]))[..., 0]
        parts = flat.split([g[0].numel() for g in gradients.values()], dim=1)
        return {
            name: part.reshape(g.shape) / self._scale[name]
            for (name, g), part in zip(gradients.items(), parts, strict=True)
        }

    def finish(self, phase: int, trained: Tensors) -> None:
        if phase == len(self.learning.lessons) - 1:
            return  # nothing comes after the last task
        new = self._directions(phase, trained)  # [M, P, r]
        if self._components is not None:
            new = _leading(new, self._components)
        if self._basis is None:
            self._basis = _orthonormal(new, None)
        else:
            self._basis = torch.cat([self._basis, _orthonormal(new, self._basis)], dim=2)

    def _directions(self, phase: int, trained: Tensors) -> Tensor:
        learning, lesson = self.learning, self.learning.lessons[phase].first(self._stored(phase))
        columns = lesson.mask[0].nonzero()[:, 0]
        found = []
        for c in columns:
            gradients = gradients_at(learning.networks, trained, lesson.x, itemgetter(int(c)))
            flat = torch.cat([(g * self._scale[name]).flatten(2) for name, g in gradients.items()], dim=2)
            if self._method.directions == "label":
                flat = flat * (lesson.y.argmax(dim=-1) == c)[..., None]
            found.append(flat)
        if self._method.directions == "label":
            return sum(found[1:], start=found[0]).mT
        return torch.cat(found, dim=1).mT

    def _stored(self, phase: int) -> int:
        size = len(self.learning.lessons[phase])
        return size if self._method.examples is None else min(size, self._method.examples)

    def _check_memory(self) -> None:
        lessons, networks = self.learning.lessons, self.learning.networks
        rows = sum(
            self._stored(t) * (int(lesson.mask[0].sum()) if self._method.directions == "all" else 1)
            for t, lesson in enumerate(lessons[:-1])
        )
        if self._components is not None:
            rows = min(rows, self._components * (len(lessons) - 1))
        parameters = sum(p.numel() for p in networks.trained.values())
        size = rows * parameters * next(iter(networks.trained.values())).element_size()
        if size > self._method.budget:
            raise StudyError(
                f"orthogonal gradients would store {rows} directions of {parameters / len(networks):.0f} "
                f"parameters, "
                f"{size / 1e9:.1f} GB; store fewer examples, use directions='label' or PCAOGD, or raise "
                f"budget={self._method.budget:g}"
            )


def _orthonormal(new: Tensor, basis: Tensor | None) -> Tensor:
    """Orthonormal directions of what is new beside a basis, [M, P, r]; zero where a direction adds nothing."""
    sizes = torch.linalg.vector_norm(new, dim=1).amax(dim=1)  # [M]
    if basis is not None:
        for _ in range(2):  # once leaves rounding of the size of what was taken away
            new = new - basis @ (basis.mT @ new)
    q, r = torch.linalg.qr(new)
    noise = max(new.shape[1:]) * torch.finfo(new.dtype).eps * sizes
    kept = r.diagonal(dim1=-2, dim2=-1).abs() > noise[:, None]
    return q * kept[:, None, :]


def _leading(directions: Tensor, components: int) -> Tensor:
    """Principal directions, times their singular values, [M, P, r] -> [M, P, min(r, components)]."""
    _, vectors = torch.linalg.eigh(directions.mT @ directions)
    return directions @ vectors[..., -components:]


def _check_count(name: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise StudyError(f"{name} must be an integer of at least 1, got {value!r}")
