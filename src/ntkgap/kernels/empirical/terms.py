"""What the network's Jacobian is with respect to one parameter: factors, and where they lie in the parameter."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.kernels.empirical.factors import Factor, Outer, Rows, dense
from ntkgap.kernels.empirical.parts import Part


@dataclass
class Term:
    """The gradient through one use of (a part of) a parameter, or through several that were merged."""

    part: Part
    factor: Factor

    def explicit(self) -> Tensor:
        """The gradients with respect to the whole parameter, [C, n, p]."""
        return self.part.to_parameter(self.factor.explicit())

    def transposed_product(self, v: Tensor) -> Tensor:
        """Σ_{c,i} v[c, i] J[c, i] for the whole parameter, flat, for v of shape [C, n]."""
        return self.part.to_parameter(self.factor.transposed_product(v))

    def product(self, w: Tensor) -> Tensor:
        """J w for w of the whole parameter, flat: [C, n]."""
        return self.factor.product(self.part.from_parameter(w))

    def squared_norms(self) -> Tensor:
        """‖J[c, i]‖², [C, n]."""
        return self.part.scale**2 * self.factor.squared_norms()

    def folded(self) -> "Term":
        """The outputs laid side by side as one: the Gram matrix of the result is the sum over outputs."""
        return Term(self.part, self.factor.folded())


def merged(terms: list[Term]) -> Term:
    """One term for a parameter that may have been used more than once: uses add up before any product."""
    if len(terms) == 1:
        return terms[0]
    whole = terms[0].part.of_whole()
    outers = [t.factor for t in terms if isinstance(t.factor, Outer)]
    alike = len({(o.flipped, o.sizes[0]) for o in outers}) == 1
    if len(outers) == len(terms) and alike and not any(t.part.moves for t in terms):
        # Σ_u Σ_s g_us ⊗ a_us: further uses are just further positions.
        g = torch.cat([dense(o.g) for o in outers], 3)
        a = torch.cat([dense(o.a) * t.part.scale for o, t in zip(outers, terms, strict=True)], 2)
        return Term(whole, Outer(g, a, outers[0].flipped))
    rows = terms[0].explicit()
    for term in terms[1:]:
        rows = rows + term.explicit()
    return Term(whole, Rows(rows))
