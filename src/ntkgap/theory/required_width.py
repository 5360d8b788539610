"""The width that convergence theorems ask for on given data, side by side."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.errors import DataError, KernelError
from ntkgap.linalg.duplicates import describe_rows, duplicate_inputs
from ntkgap.linalg.spectrum import spectrum
from ntkgap.one_line import one_line
from ntkgap.theory.width_bounds import BOUNDS, Problem

CAVEAT = "Orders of magnitude: every constant is taken as 1, and logarithms are dropped."


@dataclass(frozen=True)
class WidthBound:
    """What one theorem asks for.

    Attributes:
        name: authors and year.
        source: paper and place.
        formula: in n, d, λ0, φ, ν, δ, L, ‖X‖.
        width: units a hidden layer, constant 1 and logarithms dropped; NaN where λ0 is below numerical precision.
        applies_to: networks and algorithms that the theorem is about.
        exact: whether the formula is the theorem's but for a constant factor; False where it also drops
            logarithms or has a quantity of the theorem replaced by λ0.
    """

    name: str
    source: str
    formula: str
    width: float
    applies_to: str
    exact: bool

    __repr__ = one_line


@dataclass(frozen=True)
class RequiredWidth:
    """Widths asked for on one set of inputs; ``print`` it for a table.

    Attributes:
        bounds: one for each theorem.
        lambda_min: λ0 = λ_min(H^∞), or NaN where it is below ``noise_floor``.
        noise_floor: n·ε·κ_max(H^∞).
        separation: φ = min over i ≠ j of ‖x_i − x_j‖₂, after normalization.
        notes: what was done to the inputs and what could not be decided.
    """

    bounds: tuple[WidthBound, ...]
    lambda_min: float
    noise_floor: float
    separation: float
    notes: tuple[str, ...]

    __repr__ = one_line

    def __str__(self) -> str:
        head = f"λ0 = {self.lambda_min:.4g} (noise floor {self.noise_floor:.1e}), φ = {self.separation:.4g}"
        names = max(len(b.name) for b in self.bounds)
        formulas = max(len(b.formula) for b in self.bounds)
        rows = [f"{b.width:8.0e}  {b.name:{names}}  {b.formula:{formulas}}  {b.applies_to}" for b in self.bounds]
        return "\n".join([CAVEAT, *self.notes, head, *rows])


def required_width(x: Tensor, *, nu: float = 1.0, delta: float = 0.1, depth: int = 1) -> RequiredWidth:
    r"""Widths from which published theorems promise convergence to zero training loss, on these inputs.

    **Orders of magnitude**: every constant is taken as 1, and logarithms are dropped; two widths that differ by a
    factor of a hundred are not told apart. All are sufficient conditions: narrower networks may well converge.

    Inputs are normalized to unit norm, as the theorems want them. λ0 is the smallest eigenvalue of
    :func:`hidden_layer_limit`, φ the smallest distance of two inputs.

    Args:
        x: inputs, [n, ...] with n ≥ 2.
        nu: ν, standard deviation of the hidden weights, for Zhang et al. 2019.
        delta: δ, probability with which the initialization may fail.
        depth: number of hidden layers L, for the theorems on deep networks (at most 1000).

    Returns:
        A bound for each theorem, with λ0, φ and notes. Opposite inputs (x_i = −x_j) are no obstacle by themselves:
        :math:`H^\infty_{ij} = 0` for them.

    Raises:
        DataError: if there are fewer than two inputs, one is zero or not finite, or an option is out of range.
        KernelError: if inputs coincide after normalization: H^∞ is singular and the theorems say nothing.

    Sources: see ``WidthBound.source`` of each.

    Example:
        >>> train, _ = ng.load_data("digits", n_train=16, n_test=4)
        >>> bounds = ng.theory.required_width(train.x)
        >>> len(bounds.bounds) > 3
        True
    """
    for name, value in {"nu": nu, "delta": delta}.items():
        if not 0 < value < math.inf:
            raise DataError(f"{name} must be positive and finite, got {value!r}")
    if delta >= 1:
        raise DataError(f"delta is a probability of failure: it must be below 1, got {delta!r}")
    if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= 1000:
        raise DataError(f"depth must be an integer from 1 to 1000, got {depth!r}")
    unit, notes = _unit_rows(x)
    # Rounding of the entries in their own type, and of the norms in float64.
    groups = duplicate_inputs(unit, tolerance=torch.finfo(x.dtype).eps + 8 * torch.finfo(torch.float64).eps)
    if groups:
        raise KernelError(
            f"inputs coincide after normalization (rows {describe_rows(groups)}): H∞ is singular, λ0 = 0, and no "
            "width is enough for these theorems; remove the duplicates"
        )
    found = spectrum(hidden_layer_limit(unit))
    lambda_min = found.lambda_min if found.positive_definite else math.nan
    if not found.positive_definite:
        notes.append(
            f"λ_min(H∞) = {found.lambda_min:.2e} is below the noise floor {found.noise_floor:.2e}; the widths "
            "that depend on it are inconclusive"
        )
    separation = float(torch.nn.functional.pdist(unit).min())
    problem = Problem(
        len(unit), lambda_min, separation, float(torch.linalg.matrix_norm(unit, 2)), nu, delta, depth
    )
    bounds = tuple(
        WidthBound(b.name, b.source, b.formula, b.width(problem), b.applies_to, b.exact) for b in BOUNDS
    )
    return RequiredWidth(bounds, lambda_min, found.noise_floor, separation, tuple(notes))


def hidden_layer_limit(x: Tensor) -> Tensor:
    r"""H^∞, the tangent kernel of an infinitely wide shallow ReLU network whose hidden layer alone is trained.

    .. math:: H^\infty_{ij} = \mathbb{E}_{w \sim N(0, I)}\,
              x_i^\top x_j\, 1\{w^\top x_i \ge 0,\, w^\top x_j \ge 0\}
              = \frac{x_i^\top x_j\, (\pi - \arccos x_i^\top x_j)}{2\pi}

    Args:
        x: inputs, [n, ...]; scaled to unit norm first.

    Returns:
        [n, n], float64, diagonal ½.

    Raises:
        DataError: if there are fewer than two inputs, or one is zero or not finite.

    Source: Du et al. 2019a, assumption 3.1 and equation 4.
    """
    unit, _ = _unit_rows(x)
    apart = torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")
    together = torch.cdist(unit, -unit, compute_mode="donot_use_mm_for_euclid_dist")
    # arccos loses half of the digits of a small angle, and H∞ of close inputs hangs on it.
    angle = 2 * torch.atan2(apart, together)
    gram = angle.cos() * (math.pi - angle) / (2 * math.pi)
    return (gram + gram.T) / 2


def _unit_rows(x: Tensor) -> tuple[Tensor, list[str]]:
    """Inputs as unit vectors in float64, [n, d], and a note if that changed them."""
    if x.ndim < 1 or len(x) < 2:
        raise DataError(f"x has shape {tuple(x.shape)}; at least two inputs [n, ...] are needed")
    if not x.is_floating_point():
        raise DataError(f"x must hold floating-point numbers, got {x.dtype}")
    rows = x.detach().reshape(len(x), -1).double()
    norms = rows.norm(dim=1)
    bad = (~(torch.isfinite(norms) & (norms > 0))).nonzero().flatten()
    if len(bad):
        raise DataError(f"input {int(bad[0])} is zero or not finite: it has no direction; remove it")
    changed = float((norms - 1).abs().max()) > 8 * torch.finfo(x.dtype).eps
    low, high = float(norms.min()), float(norms.max())
    notes = [f"Inputs were scaled to unit norm (norms were {low:.3g} to {high:.3g})."] if changed else []
    return rows / norms[:, None], notes
