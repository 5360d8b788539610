"""The network's Jacobian with respect to one parameter: factors, and where they lie in the parameter."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ntkgap.kernels.empirical.factors import Factor, Lookup, Outer, Rows, alike, dense
from ntkgap.kernels.empirical.parts import Derived, Part


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
        if self.part.copies:
            return self.explicit().square().sum(-1)
        return self.part.scale**2 * self.factor.squared_norms()

    def in_full(self) -> "Term":
        """The same gradients, explicit and in the parameter's own layout."""
        return Term(self.part.of_whole(), Rows(self.explicit()))

    def folded(self) -> "Term":
        """The outputs laid side by side as one: the Gram matrix of the result is the sum over outputs."""
        return Term(self.part, self.factor.folded())


def merged(terms: list[Term]) -> Term:
    """One term for a parameter that may have been used more than once: uses add up before any product."""
    if len(terms) == 1:
        return terms[0]
    outers = [t.factor for t in terms if isinstance(t.factor, Outer)]
    same = all(alike(t.factor, terms[0].factor) and t.part.same_entries(terms[0].part) for t in terms)
    if len(outers) == len(terms) and same:
        # Σ_u Σ_s g_us ⊗ a_us: further uses are just further positions.
        g = torch.cat([dense(o.g) for o in outers], 3)
        a = torch.cat([dense(o.a) * t.part.scale for o, t in zip(outers, terms, strict=True)], 2)
        return Term(replace(terms[0].part, scale=1.0), Outer(g, a, outers[0].flipped))
    rows = terms[0].explicit()
    for term in terms[1:]:
        rows = rows + term.explicit()
    return Term(terms[0].part.of_whole(), Rows(rows))


def of_parameters(found: dict[str, list[Term]]) -> dict[str, list[Term]]:
    """The same terms with those of tensors derived from parameters passed on to the parameters."""
    passed: dict[str, list[Term]] = {}
    for name, uses in found.items():
        part = uses[0].part
        if not isinstance(part, Derived):
            passed.setdefault(name, []).extend(uses)
            continue
        rows = merged(uses).factor.explicit()
        for leaf, grads in part.pulled_back(rows.flatten(0, 1)).items():
            whole = Part(leaf, grads.new_empty(0), shape=part.leaves[leaf].shape)
            passed.setdefault(leaf, []).append(Term(whole, Rows(grads.view(*rows.shape[:2], -1))))
    return passed


def difference(one: Term | None, two: Term | None) -> Term:
    """The gradient of f minus that of f', in factors of differences where the factors allow it."""
    if one is None or two is None:
        only = one or two
        assert only is not None
        rows = only.explicit()
        return Term(only.part.of_whole(), Rows(rows if two is None else -rows))
    f1, f2 = one.factor, two.factor
    if one.part.scale == two.part.scale and one.part.same_entries(two.part) and alike(f1, f2):
        if isinstance(f1, Outer) and isinstance(f2, Outer) and f1.sizes == f2.sizes:
            return Term(one.part, f1.shifted(f2))
        if isinstance(f1, Lookup) and isinstance(f2, Lookup) and torch.equal(f1.index, f2.index):
            return Term(one.part, Lookup(f1.g - f2.g, f1.index, f1.entries))
        if isinstance(f1, Rows) and isinstance(f2, Rows):
            return Term(one.part, Rows(f1.rows - f2.rows))
    return Term(one.part.of_whole(), Rows(one.explicit() - two.explicit()))
