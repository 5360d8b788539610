"""How a kernel is cut into tiles, and how many are worked on at once: for the cache, the cores and the memory."""

import math

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.recursion import Recursion
from ntkgap.kernels.memory import check_budget

# Kernels of a tile take this many bytes: on a CPU they stay in the cache of a core from one layer to the next, on
# a GPU they keep it busy.
TILE_BYTES = {"cpu": 1 << 20, "cuda": 1 << 26}

# Tiles are at most this wide, so that in a symmetric kernel little is computed twice.
TILE_COLUMNS = 512

# Below so many pairs it pays to use fewer cores rather than smaller tiles.
SMALL_TILE = 1 << 12

# Functions of the input are computed once and kept if they take no more than this, else anew for every tile.
KEPT_BYTES = 1 << 27

# Another core is worth its while if there is so much to do for it, in seconds.
WORTH_A_CORE = 2e-3

# Rough costs: of an entry of a step in closed form, of one by a series, of a multiplication in a matrix product.
CLOSED_SECONDS, SERIES_SECONDS, PRODUCT_SECONDS = 5e-9, 1e-7, 6e-11

# Coefficients of a series, for one input.
SERIES_BYTES = 1 << 14

# Of all series together, so much is kept from one tile to the next.
REMEMBERED_BYTES = 1 << 26

ITEM = 8  # bytes of a float64 number


class Plan:
    """Sizes of tiles.

    Without a budget they depend on nothing but the recursion and the inputs' number: the same call gives the same
    bits, on any number of cores.

    Attributes:
        keeps_features: whether functions of the input are kept.
        examples_at_once: for how many examples these are computed at once.

    Args:
        recursion: of the model.
        device: its type.
        cores: that may be used.
        memory_budget: bytes beyond inputs and results, or None.
        examples: number of inputs on both sides.

    Raises:
        KernelError: if the budget is not a positive number.
    """

    def __init__(
        self, recursion: Recursion, device: str, cores: int, memory_budget: int | None, examples: int
    ) -> None:
        check_budget(memory_budget)
        self._cores, self._budget, self._reserved = cores, memory_budget, 0
        self._default_pairs = max(1, TILE_BYTES.get(device, TILE_BYTES["cpu"]) // (recursion.entries * ITEM))
        self._pair_bytes = recursion.live * recursion.entries * ITEM
        each = SERIES_SECONDS if recursion.has_series else CLOSED_SECONDS
        of_input = recursion.functions_of_input.entries
        self._pair_seconds = each * sum(step.entries for step in recursion.steps.values())
        self._pair_seconds += PRODUCT_SECONDS * of_input
        kept = of_input * ITEM * examples
        self.keeps_features = kept <= (KEPT_BYTES if memory_budget is None else memory_budget // 4)
        # Computed for a tile: the inputs in float64, what is made of them, and that with channels last.
        self._example_bytes = of_input * ITEM * (1 if self.keeps_features else 3)
        if recursion.has_series:
            self._example_bytes += SERIES_BYTES
        recursion.remember(REMEMBERED_BYTES if memory_budget is None else memory_budget // 8)
        self.examples_at_once = max(
            1, (KEPT_BYTES if memory_budget is None else memory_budget // 32) // max(1, of_input * ITEM)
        )
        if self.keeps_features:
            self._reserved += kept

    def reserve(self, size: int) -> None:
        """Take bytes for something that stays until the end."""
        self._reserved += size

    def lanes(self, pairs: int) -> int:
        """How many cores so many pairs are worth."""
        return max(1, min(self._cores, math.ceil(pairs * self._pair_seconds / WORTH_A_CORE)))

    def tiles(self, rows: int, columns: int) -> tuple[int, int, int]:
        """How many tiles of all pairs of rows and columns are worked on at once, their height and width.

        Raises:
            KernelError: if a single pair needs more than the budget.
        """
        lanes = self.lanes(rows * columns)
        width = min(columns, TILE_COLUMNS, self._default_pairs)
        # Of a symmetric kernel the squares at the diagonal are computed twice: they are to be few.
        height = min(rows, max(1, self._default_pairs // width), max(32, rows // 8) if columns > 1 else rows)
        while self._budget is not None and self._bytes(lanes, height, width) > self._budget:
            if height * width > SMALL_TILE or (lanes == 1 and height * width > 1):
                wide = 2 * height <= width  # the square of a tile's own rows stays in one tile
                height, width = (height, (width + 1) // 2) if wide else ((height + 1) // 2, width)
            elif lanes > 1:
                lanes -= 1
            else:
                raise KernelError(
                    f"memory_budget={self._budget:,} bytes is too small: one pair of inputs needs at least "
                    f"{self._bytes(1, 1, 1):,} bytes, with what is kept of all inputs"
                )
        return lanes, height, width

    def _bytes(self, lanes: int, height: int, width: int) -> int:
        tile = height * width * self._pair_bytes + (height + width) * self._example_bytes
        return self._reserved + lanes * tile
