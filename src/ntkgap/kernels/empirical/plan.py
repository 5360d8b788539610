"""How a kernel will be computed: an order of contraction for each layer, and blocks that fit the memory.

For a layer used at S positions, K[a, i, b, j] = Σ_{s,t} ⟨a_is, a_jt⟩ ⟨g_ais, g_bjt⟩ can be summed in three
orders (Novak, Sohl-Dickstein, Schoenholz 2022, *Fast finite width neural tangent kernel*, table 1):

* ``gradients``: the gradients Σ_s g_ais ⊗ a_is first, then their Gram matrix;
* ``positions``: the Gram matrices of patches and of gradients, multiplied entry by entry and summed;
* ``pairs``: for every pair of examples ⟨a_is, a_jt⟩ applied to g_bjt, then to g_ais.

A layer used once (S = 1) is ``dense``: one Gram matrix of inputs times one of gradients, without a sum.
Costs are counted in FLOPs (a multiply-add is two) and in bytes that pass through memory.
"""

from dataclasses import dataclass, field, replace

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.recipe import Recipe, Shape
from ntkgap.one_line import one_line

#: Memory that a contraction may use for intermediate results where no budget is set.
DEFAULT_SCRATCH = 512 * 2**20


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


#: The fraction of a budget that is planned with; the allocator loses the rest between blocks of different sizes.
USABLE = 0.7


@dataclass(frozen=True)
class Plan:
    """What will be done; ``print(plan)`` shows it.

    Attributes:
        outputs: "full", "mean", "diagonal" or "sum".
        rows: examples of x1 held at a time.
        columns: examples of x2 streamed against them; 0 where everything is held at once.
        classes: outputs differentiated at a time.
        scratch: bytes for intermediate results of a contraction.
        peak: estimated bytes beyond the model, the inputs and the result.
        layers: parameter -> sizes and chosen order, with the cost over the whole kernel.
        fallback: parameters without a structured rule, with the reason.
    """

    outputs: str
    rows: int
    columns: int
    classes: int
    scratch: int
    peak: int
    layers: dict[str, tuple[Shape, Cost]] = field(repr=False)
    fallback: dict[str, str]

    __repr__ = one_line

    @property
    def flops(self) -> float:
        """FLOPs of all contractions."""
        return sum(cost.flops for _, cost in self.layers.values())

    def __str__(self) -> str:
        lines = [
            f"{self.outputs} kernel: {self.rows} examples at a time"
            + (f" against {self.columns}" if self.columns else "")
            + f", {self.classes} outputs at a time, {self.peak / 2**20:.0f} MiB at most",
            f"{'parameter':<40} {'S':>6} {'k':>4} {'o':>6} {'d':>6}  {'order':<10} {'GFLOP':>9} {'MiB':>10}",
        ]
        for name, (shape, cost) in self.layers.items():
            out, into = (shape.out, shape.into) if shape.out else (shape.entries, 1)
            lines.append(
                f"{name:<40} {shape.positions:>6} {shape.groups:>4} {out:>6} {into:>6}  {cost.order:<10} "
                f"{cost.flops / 1e9:>9.3f} {cost.traffic / 2**20:>10.1f}"
                + (f"  fallback: {self.fallback[name]}" if name in self.fallback else "")
            )
        lines.append(
            f"{'all contractions':<40} {'':>6} {'':>4} {'':>6} {'':>6}  {'':<10} {self.flops / 1e9:>9.3f}"
        )
        return "\n".join(lines)


def make_plan(recipe: Recipe, outputs: str, n1: int, n2: int, symmetric: bool, point: Point, budget: int) -> Plan:
    """Choose blocks that fit ``budget`` bytes and an order for each layer.

    What an example needs is known from the recipe: its graph, and gradients of c outputs. As much as possible
    is held at once: all examples and outputs; else fewer outputs (which costs nothing for kernels without
    cross-output blocks); else blocks of examples, whose forward and backward passes are then repeated.

    Raises:
        KernelError: if not even a pair of examples fits.
    """
    itemsize = point.float_dtype.itemsize
    c = recipe.classes if outputs in ("full", "mean") else 1
    fewest = recipe.classes if outputs == "full" else 1
    usable = int(budget * USABLE)
    scratch, always = min(usable // 4, DEFAULT_SCRATCH), _fixed_bytes(recipe, point)
    room, wanted = usable - scratch - always, n1 if symmetric else n1 + n2
    while c > fewest and wanted * _example_bytes(recipe, c, itemsize) > room:
        c -= 1
    each = _example_bytes(recipe, c, itemsize)
    fits = room // max(each, 1)
    if fits >= wanted:
        rows, columns, peak = n1, 0, wanted * each + scratch + always
    elif fits >= 2:
        # Each block of rows meets every later block of columns, which is evaluated anew: keep rows large.
        columns = max(1, fits // 3)
        rows = min(n1, fits - columns)
        peak = (rows + columns) * each + scratch + always
    else:
        needed = int((2 * each + always) * 4 / 3 / USABLE) + 1
        raise KernelError(
            f"memory_budget={budget} bytes is too small for one pair of examples, which takes about {needed} "
            f"bytes; raise it" + (", or ask for outputs='mean' or 'diagonal'" if outputs == "full" else "")
        )
    extent = Extent(c if outputs == "full" else 1, n1, n2, symmetric, itemsize)
    layers = {name: _cost(shape, outputs, extent, recipe.classes) for name, shape in recipe.shapes.items()}
    return Plan(outputs, rows, columns, c, scratch, peak, layers, recipe.fallback)


def _fixed_bytes(recipe: Recipe, point: Point) -> int:
    """Memory that does not depend on how many examples are held: parameters in another type, and checks."""
    parameters = sum(recipe.entries.values()) * point.float_dtype.itemsize
    cast = parameters if point.dtype is not None else 0
    largest = max(recipe.entries.values(), default=0) * point.float_dtype.itemsize
    return cast + parameters + 2 * largest + 6 * recipe.graph_bytes


def _cost(shape: Shape, outputs: str, extent: Extent, classes: int) -> tuple[Shape, Cost]:
    if outputs == "mean":  # outputs side by side count as features
        wide = replace(shape, out=shape.out * classes)
        return shape, cheapest(
            wide if shape.kind != "rows" else replace(shape, entries=shape.entries * classes), extent
        )
    cost = cheapest(shape, extent)
    times = classes if outputs == "diagonal" else 1
    return shape, replace(cost, flops=cost.flops * times, traffic=cost.traffic * times)


def _example_bytes(recipe: Recipe, classes: int, itemsize: int) -> int:
    """Memory for one example: its graph, gradients of ``classes`` outputs, and one more set in flight."""
    rows = sum(shape.entries for shape in recipe.shapes.values() if shape.kind == "rows") + recipe.derived_entries
    explicit = rows * itemsize * classes
    replay = classes * recipe.graph_bytes if recipe.fallback else 0
    return recipe.graph_bytes * 5 // 4 + (classes + 1) * recipe.gradient_bytes + 2 * explicit + replay
