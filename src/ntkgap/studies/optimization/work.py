"""What a cell of the optimization study has to do, counted measurement by measurement.

Every count is an upper bound where training may end early. The factors below were found once, from measurements
of the parts on networks between 700 and 4 million parameters (``benchmarks/estimates.py`` compares whole cells).
"""

from dataclasses import dataclass

from ntkgap.kernels.empirical.contraction import DEFAULT_SCRATCH
from ntkgap.kernels.empirical.orders import Cost, Extent, cheapest
from ntkgap.practice.jacobian_search.ascent import HALVINGS
from ntkgap.practice.jacobian_search.flips import EXAMPLES, ROUNDS
from ntkgap.practice.jacobian_search.search import DRAWS
from ntkgap.studies.estimate import PROCESS_BYTES, Work
from ntkgap.studies.network_sizes import NetworkSizes

ITEM = 8  # bytes of a float64

# Flops a row cubed, at the speed of a matrix product. LAPACK's tridiagonalisation reads the whole matrix for every
# column and so takes longer than its 4/3 n³ and 9 n³ say; Cholesky's blocks are small.
EIGENVALUES, EIGENVECTORS, CHOLESKY = 4.0, 10.0, 0.8

# Speed of passes relative to one large product: dense layers are one; a float64 convolution lays out patches and
# multiplies image by image.
DENSE_PASS, CONVOLUTION_PASS = 0.9, 0.3

# An entry of an array of the infinite-width recursion, mostly elementwise functions in the cache.
LIMIT_ENTRY = 25.0

# What the recursion keeps of an example is small, but lies between freed arrays of pairs of positions, which the
# allocator then cannot use again: about one in this many of the arrays that are computed.
STRANDED = 64

# Of arrays that live shortly, most are in memory that the allocator keeps or in a cache: the part that is not.
SHORT_LIVED = 0.25


@dataclass(frozen=True)
class CellWork:
    """One network on one data set, and what is done with it.

    Attributes:
        sizes: of the network.
        n_train: training examples.
        n_test: test examples.
        limit_entries: entries of arrays that the infinite-width kernel computes for one pair of examples.
    """

    sizes: NetworkSizes
    n_train: int
    n_test: int
    limit_entries: float

    @property
    def classes(self) -> int:
        """Outputs C."""
        return self.sizes.recipe.classes

    @property
    def rows(self) -> int:
        """Rows of the Gram matrix, nC."""
        return self.n_train * self.classes

    @property
    def at_positions(self) -> bool:
        """Whether layers are used at several positions."""
        return any(shape.kind == "positions" for shape in self.sizes.recipe.shapes.values())

    def passes(self, count: float, examples: int) -> Work:
        """Forward passes, or backward passes to what layers return: each is one product a layer."""
        shapes = self.sizes.recipe.shapes.values()
        numbers = sum(s.groups * s.positions * (s.into + s.out) for s in shapes)
        speed = CONVOLUTION_PASS if self.at_positions else DENSE_PASS
        each = Work(
            examples * self.sizes.forward_flops / speed,
            SHORT_LIVED * examples * (ITEM * numbers + self.sizes.recipe.graph_bytes),
            2 + len(shapes),
        )
        return count * each

    def vjp(self) -> Work:
        """Jᵀv from the factors: gradients of all outputs are combined, then multiplied with what layers saw."""
        # Gradients at positions are laid out anew, and do not stay in a cache.
        copies = 2.0 if self.at_positions else SHORT_LIVED
        gradients = self.n_train * self.classes * self.sizes.recipe.gradient_bytes
        return self.passes(1, self.n_train) + Work(traffic=copies * gradients + ITEM * self.sizes.parameters)

    def jacobian(self, examples: int) -> Work:
        """A forward pass, C backward passes, and the proof: a whole backward pass beside Jᵀv."""
        return self.passes(self.classes + 3, examples) + examples / self.n_train * self.vjp()

    def contractions(self, examples: int, symmetric: bool) -> list[Cost]:
        """The products that make J J'ᵀ."""
        extent = Extent(self.classes, examples, self.n_train, symmetric, ITEM)
        shapes = self.sizes.recipe.shapes
        # The bias of a dense layer has the gradients of its weight, and shares their product.
        shared = {name.removesuffix("weight") + "bias" for name, s in shapes.items() if s.kind == "dense"}
        return [cheapest(shape, extent) for name, shape in shapes.items() if name not in shared]

    def gram(self, examples: int, symmetric: bool) -> Work:
        """J J'ᵀ with the training examples on one side, each layer in its cheapest order."""
        costs = self.contractions(examples, symmetric)
        entries = self.classes**2 * examples * self.n_train
        return Work(
            sum(cost.weight * cost.flops for cost in costs),
            SHORT_LIVED * (2 * sum(cost.traffic for cost in costs) + 4 * ITEM * entries),
            5 * len(costs),
        )

    def cube(self, factor: float) -> Work:
        """Something of the order (nC)³ with the Gram matrix."""
        return Work(factor * self.rows**3, ITEM * self.rows**2, 5)

    def update(self, copies: float = 3) -> Work:
        """Parameters read and written."""
        return Work(traffic=SHORT_LIVED * copies * ITEM * self.sizes.parameters, calls=10)

    def start(self) -> Work:
        """Network, Jacobian, Gram matrix; the spectra of that and of the infinite-width kernel's."""
        decompositions = 2 * EIGENVALUES + 2 * EIGENVECTORS
        # The probe of the Jacobian traces, differentiates and proves on two and three examples.
        probe = self.passes(12, 3) + self.update(30)
        return probe + self.jacobian(self.n_train) + self.gram(self.n_train, True) + self.cube(decompositions)

    def limit(self) -> Work:
        """The infinite-width kernel: every example with itself, then the pairs on and above the diagonal."""
        return Work(LIMIT_ENTRY * self.limit_entries * self.n_train * (self.n_train + 3) / 2)

    def natural_gradient(self, steps: int) -> Work:
        """At every point the Jacobian, its Gram matrix and the drift from the start; at every step a solve."""
        point = (
            self.jacobian(self.n_train)
            + self.gram(self.n_train, True)
            + self.gram(self.n_train, False)
            + self.cube(EIGENVALUES)
            + self.update()
        )
        return (steps + 1) * point + steps * (self.cube(CHOLESKY) + self.vjp() + self.update())

    def gradient_descent(self, steps: int) -> Work:
        """Test predictions of the kernel, the descent, and the kernel at its end."""
        step = self.passes(3, self.n_train) + self.update()
        return (
            self.jacobian(self.n_test)
            + self.gram(self.n_test, False)
            + steps * step
            + self.jacobian(self.n_train)
            + self.gram(self.n_train, True)
        )

    def search(self, starts: int, steps: int, flips: bool) -> Work:
        """The search of the ball: Jacobians at many points, and gradients through a double backward pass."""
        climbs = starts + 3 + flips
        rounds = flips * (EXAMPLES + 1) * ROUNDS
        evaluations = DRAWS * starts + rounds + climbs * steps * (1 + HALVINGS / 2)
        # The flips of a unit that are bought together are a small linear system, one a unit.
        units = max(shape.out for shape in self.sizes.recipe.shapes.values())
        # The change of the Jacobian has the factors of both: twice the positions.
        evaluation = self.jacobian(self.n_train) + 4 * self.gram(self.n_train, True) + self.cube(EIGENVALUES)
        gradients = 2 * climbs * steps * self.passes(10, self.n_train)
        return evaluations * evaluation + gradients + Work(calls=2 * rounds * units)

    def memory(self) -> float:
        """Bytes at the peak: three Jacobians (at the start, before a step and after it), and what one costs."""
        recipe, n = self.sizes.recipe, self.n_train
        gradients = recipe.gradient_bytes * self.classes * n
        patches = max(ITEM * n * s.groups * s.positions * s.into for s in recipe.shapes.values())
        copy = max(ITEM * n * self.classes * s.groups * s.positions * s.out for s in recipe.shapes.values())
        contraction = min(patches + copy, DEFAULT_SCRATCH) if self.at_positions else 0.0
        return (
            PROCESS_BYTES
            + 3 * gradients
            + 2 * n * recipe.graph_bytes
            + contraction
            + 8 * ITEM * self.sizes.parameters
            + 10 * ITEM * self.rows**2
            + n * ITEM * self.limit_entries / STRANDED
        )
