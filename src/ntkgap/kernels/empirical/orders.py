"""What each exact order of contraction costs, and which is the cheapest.

For a layer used at S positions, K[a, i, b, j] = Σ_{s,t} ⟨a_is, a_jt⟩ ⟨g_ais, g_bjt⟩ can be summed in three
orders (Novak, Sohl-Dickstein, Schoenholz 2022, *Fast finite width neural tangent kernel*, table 1):

* ``gradients``: the gradients Σ_s g_ais ⊗ a_is first, then their Gram matrix;
* ``positions``: the Gram matrices of patches and of gradients, multiplied entry by entry and summed;
* ``pairs``: for every pair of examples ⟨a_is, a_jt⟩ applied to g_bjt, then to g_ais.

A layer used once (S = 1) is ``dense``: one Gram matrix of inputs times one of gradients, without a sum.
Costs are counted in FLOPs (a multiply-add is two) and in bytes that pass through memory.
"""

from dataclasses import dataclass

from ntkgap.kernels.empirical.recipe import Shape

#: FLOPs that a processor does while one byte comes from memory; only ratios of costs matter.
FLOPS_PER_BYTE = 20.0
#: Small matrix products run slower than one large one.
SMALL_PRODUCTS = 1.6


@dataclass(frozen=True)
class Cost:
    """What a contraction does: its order, FLOPs, bytes through memory, and bytes of memory at once."""

    order: str
    flops: float
    traffic: float
    weight: float = 1.0

    @property
    def time(self) -> float:
        """In units of FLOPs."""
        return self.weight * self.flops + FLOPS_PER_BYTE * self.traffic


@dataclass(frozen=True)
class Extent:
    """How many outputs and examples meet: C, n1, n2, whether x2 is x1, and the bytes of a number."""

    classes: int
    n1: int
    n2: int
    symmetric: bool
    itemsize: int

    @property
    def pairs(self) -> float:
        """Pairs of examples that are computed."""
        return self.n1 * (self.n1 + 1) / 2 if self.symmetric else self.n1 * self.n2

    @property
    def entries(self) -> float:
        """Entries of the kernel that are computed."""
        return self.classes**2 * self.pairs

    @property
    def evaluations(self) -> int:
        """Examples at which factors are had."""
        return self.n1 if self.symmetric else self.n1 + self.n2


def costs(shape: Shape, at: Extent) -> list[Cost]:
    """The cost of every order in which a parameter's factors can be contracted, cheapest first."""
    c, m, z = at.classes, at.evaluations, at.itemsize
    s, k, o, d = shape.positions, shape.groups, shape.out, shape.into
    if shape.kind == "dense":
        found = [Cost("dense", 2 * at.entries * o + 2 * at.pairs * d, 3 * z * at.entries)]
    elif shape.kind == "rows":
        found = [Cost("gradients", 2 * at.entries * shape.entries, z * c * m * shape.entries)]
    elif shape.kind == "lookup":
        used = min(m * s, shape.entries // max(o, 1))
        found = [Cost("tokens", 2 * at.entries * used * o, 3 * z * c * m * used * o)]
    else:
        explicit = k * o * d
        found = [
            Cost(
                "gradients",
                2 * c * m * s * explicit + 2 * at.entries * explicit,
                z * m * (3 * c * explicit + 2 * k * s * d),
            ),
            Cost(
                "positions",
                2 * k * at.pairs * s * s * (d + c * c * o),
                z * k * at.pairs * s * s * (2 + 4 * c * c),
            ),
            Cost(
                "pairs",
                2 * k * at.pairs * (s * s * d + c * s * s * o + c * c * s * o),
                z * k * at.pairs * (2 * s * s + 2 * c * s * o),
                SMALL_PRODUCTS,
            ),
        ]
    return sorted(found, key=lambda cost: cost.time)


def cheapest(shape: Shape, at: Extent) -> Cost:
    """The order that the engine takes."""
    return costs(shape, at)[0]
