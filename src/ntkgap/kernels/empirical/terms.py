"""Sums of factored gradients that belong to one parameter, and their products with vectors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntkgap.kernels.empirical.factors import Factor, Outer, Rows
from ntkgap.kernels.empirical.parts import Part


@dataclass
class Term:
    """The gradient through one use of (a part of) a parameter."""

    part: Part
    factor: Factor

    def explicit(self) -> Tensor:
        """The gradients with respect to the whole parameter, [C, n, p]."""
        return self.part.to_parameter(self.factor.explicit())


def transposed_product(term: Term, v: Tensor) -> Tensor:
    """Σ_{c,i} v[c, i] J[c, i] for one parameter, flattened."""
    factor = term.factor
    if isinstance(factor, Outer):
        g = torch.einsum("ci,ciso->iso", v, factor.g)
        flat = (g.flatten(0, 1).mT @ factor.a.flatten(0, 1)).flatten()
    else:
        flat = v.flatten() @ factor.rows.flatten(0, 1)
    return term.part.to_parameter(flat)


def merged(terms: list[Term]) -> Term:
    """One term for a parameter that may have been used more than once: uses add up before any product."""
    if len(terms) == 1:
        return terms[0]
    first = terms[0].part
    plain = all(not t.part.moves for t in terms)
    outers = [t.factor for t in terms if isinstance(t.factor, Outer)]
    if plain and len(outers) == len(terms):
        # Σ_u Σ_s g_us ⊗ a_us: the uses are just more positions.
        scaled = [o.a * t.part.scale for o, t in zip(outers, terms, strict=True)]
        return Term(
            Part(first.name, first.tensor), Outer(torch.cat([o.g for o in outers], 2), torch.cat(scaled, 1))
        )
    rows = terms[0].explicit()
    for term in terms[1:]:
        rows = rows + term.explicit()
    return Term(Part(first.name, first.tensor.new_empty(first.shape)), Rows(rows))
