"""The loop that fills a kernel, block by block in the memory there is; once, or again and again."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import DataError, KernelError
from ntkgap.kernels.empirical.contraction import contract, mirror
from ntkgap.kernels.empirical.jacobian import Evaluation, Replanned
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.network.selection import ParameterSelection
from ntkgap.kernels.empirical.plan import Plan, make_plan
from ntkgap.kernels.empirical.recipe import Recipe, find_recipe
from ntkgap.kernels.memory import check_budget, free_memory
from ntkgap.kernels.neutral import neutral
from ntkgap.kernels.progress import tracked
from ntkgap.kernels.workers import aside

OUTPUTS = ("full", "mean", "diagonal", "sum")

#: Operations that one core is through with in a few milliseconds; of one backward pass, that are not worth
#: splitting however many passes there are; and of the contractions beside such passes.
SMALL, SMALL_PASS, SMALL_CONTRACTION = 3e8, 3e6, 3e9


def check_options(outputs: str, memory_budget: int | None) -> None:
    """Refuse options that there are not.

    Raises:
        KernelError: naming the option.
    """
    if outputs not in OUTPUTS:
        raise KernelError(f"unknown outputs={outputs!r}; choose one of {', '.join(OUTPUTS)}")
    check_budget(memory_budget)


class KernelJob:
    """One call of :func:`empirical_ntk`: what is to be done, and the loop over blocks that does it."""

    @neutral()
    def __init__(
        self,
        model: nn.Module,
        x1: Any,
        x2: Any,
        outputs: str,
        parameters: ParameterSelection,
        memory_budget: int | None,
        dtype: torch.dtype | None,
        recipe: Recipe | None = None,
    ) -> None:
        check_options(outputs, memory_budget)
        self.point = Point(model, parameters, dtype)
        self.symmetric = x2 is None or x2 is x1
        self.x1 = self.point.inputs(x1, "x1")
        self.x2 = self.x1 if x2 is None or self.symmetric else self.point.inputs(x2, "x2")
        self._checked = recipe is not None  # at other parameters, for x1 alone
        self.recipe1 = self.recipe2 = recipe or find_recipe(self.point, self.x1, check=False)
        if self.x2.kind != self.x1.kind:
            self.recipe2 = find_recipe(self.point, self.x2, check=False)
        if self.recipe1.classes != self.recipe2.classes:
            raise DataError(
                f"the model gives {self.recipe1.classes} outputs for x1 and {self.recipe2.classes} for x2"
            )
        self.outputs = outputs
        self._budget = memory_budget or free_memory(self.point.device) // 2
        self.plan = self._make_plan()

    def _make_plan(self) -> Plan:
        return make_plan(
            max(self.recipe1, self.recipe2, key=lambda recipe: recipe.graph_bytes),
            self.outputs,
            len(self.x1),
            len(self.x2),
            self.symmetric,
            self.point,
            self._budget,
        )

    @neutral()
    def run(self, progress: bool, layerwise: bool) -> Tensor | dict[str, Tensor]:
        """The kernel; planned again where the structure found on a few examples does not hold for all."""
        # Small work is done aside on one core: operations split over busy cores wait for each other at every step.
        # Not where the caller has entered modes of torch (a default device, a counter): they are of one thread.
        small = self._is_small() and self.point.device.type == "cpu"
        if small and torch._C._len_torch_function_stack() == torch._C._len_torch_dispatch_stack() == 0:
            return aside(lambda: self._run_until_planned(progress, layerwise))
        return self._run_until_planned(progress, layerwise)

    def leave_to_fallback(self, left: dict[str, str]) -> None:
        """Plan again with these parameters, given with the reason, left to the fallback."""
        self.recipe1, self.recipe2 = self.recipe1.without(left), self.recipe2.without(left)
        self.plan = self._make_plan()

    def _is_small(self) -> bool:
        """By about how many operations there are: in the contractions, and in passes forward and backward."""
        shapes, examples = self.recipe1.shapes.values(), len(self.x1) + (0 if self.symmetric else len(self.x2))
        each = sum(max(s.entries, s.positions * s.groups * s.out * s.into) for s in shapes)
        one_pass = 2 * examples * each
        if self.plan.flops + one_pass * (self.recipe1.classes + 3) < SMALL:
            return True
        return one_pass < SMALL_PASS and self.plan.flops < SMALL_CONTRACTION

    def _run_until_planned(self, progress: bool, layerwise: bool) -> Tensor | dict[str, Tensor]:
        while True:
            try:
                return self._run(progress, layerwise)
            except Replanned as found:
                self._checked = False
                self.leave_to_fallback(found.recipe.fallback)

    def _run(self, progress: bool, layerwise: bool) -> Tensor | dict[str, Tensor]:
        """Loop over pairs of blocks."""
        owners = {name: name.rpartition(".")[0] if layerwise else "" for name in self.point.leaves}
        classes = self.recipe1.classes if self.outputs in ("full", "diagonal") else 1
        shape = (classes, len(self.x1), classes if self.outputs == "full" else 1, len(self.x2))
        empty = torch.zeros(shape, dtype=self.point.float_dtype, device=self.point.device)
        kernels = {
            owner: empty if k == 0 else torch.zeros_like(empty)
            for k, owner in enumerate(dict.fromkeys(owners.values()))
        }
        held: tuple[slice, Evaluation, _Held] | None = None
        room = self.plan.scratch // 4  # of what is not in use before gradients are contracted
        for i, j in tracked(list(self._pairs()), "empirical NTK", progress):
            if held is None or held[0] != i:
                held = None  # frees the last block before the next is evaluated
                rows = Evaluation(
                    self.point, self.x1[i], self.recipe1, strict=True, room=room, checked=self._checked
                )
                held = (i, rows, _Held(self.outputs, self.plan.classes))
            _, rows, cache = held
            same = self.symmetric and i == j
            columns = rows
            if not same:
                columns = Evaluation(
                    self.point, self.x2[j], self.recipe2, strict=True, room=room, checked=self._checked
                )
            for chosen, along in self._combinations():
                terms1 = cache.terms(rows, along)
                terms2 = terms1 if same else columns.terms(along, self.outputs == "mean")
                blocks = {owner: kernel[chosen, i][:, :, :, j] for owner, kernel in kernels.items()}
                contract(
                    lambda name: blocks[owners[name]],  # noqa: B023  (used before the loop goes on)
                    terms1,
                    terms2,
                    same,
                    self.plan.scratch,
                    fold=self.outputs == "mean",
                )
                for owner, block in blocks.items():
                    if same:
                        mirror(block)
                    elif self.symmetric:
                        kernels[owner][chosen, j][:, :, :, i] = (
                            block.permute(2, 3, 0, 1) if self.outputs == "full" else block.transpose(1, 3)
                        )
            del columns
        self._check_range(kernels)
        results = {owner: self._arranged(kernel) for owner, kernel in kernels.items()}
        return results if layerwise else results[""]

    def _check_range(self, kernels: dict[str, Tensor]) -> None:
        """Refuse a kernel that the precision cannot hold.

        Raises:
            KernelError: if an entry overflows, or all vanish though the gradients do not.
        """
        ranges = [torch.aminmax(result) for result in kernels.values()]  # NaN if any entry is
        remedy = "pass dtype=torch.float64, or rescale inputs and outputs"
        if not all(bool(torch.isfinite(r.min) & torch.isfinite(r.max)) for r in ranges):
            raise KernelError(
                "the kernel overflows: gradients are too large to be multiplied in "
                f"{self.point.float_dtype}; {remedy}"
            )
        tiny = torch.finfo(self.point.float_dtype).tiny
        if max(float(torch.maximum(r.max, -r.min)) for r in ranges) >= tiny:
            return
        for x in (self.x1, self.x2):
            with torch.enable_grad():
                outputs = self.point(x[:1])
            if not outputs.requires_grad:
                return
            generator = torch.Generator().manual_seed(0)  # of its own: that of the process is the user's
            v = torch.randn(outputs.shape, generator=generator).to(outputs)
            leaves = list(self.point.leaves.values())
            if not any(
                g.any() for g in torch.autograd.grad(outputs, leaves, v, allow_unused=True) if g is not None
            ):
                return  # zero in earnest
        raise KernelError(
            f"the kernel underflows: products of gradients are below {tiny:.0e}, the smallest number of "
            f"{self.point.float_dtype}; {remedy}"
        )

    def _pairs(self) -> Iterator[tuple[slice, slice]]:
        """Blocks of rows, each against all of its columns."""
        n1, n2, plan = len(self.x1), len(self.x2), self.plan
        if not plan.columns:
            yield slice(0, n1), slice(0, n2)
            return
        for i in range(0, n1, plan.rows):
            rows = slice(i, min(i + plan.rows, n1))
            if self.symmetric:
                yield rows, rows
            for j in range(rows.stop if self.symmetric else 0, n2, plan.columns):
                yield rows, slice(j, min(j + plan.columns, n2))

    def _combinations(self) -> Iterator[tuple[slice, Tensor]]:
        """Which outputs are differentiated next, [c, C], and the classes of the result that they go to."""
        classes = self.recipe1.classes
        eye = torch.eye(classes, dtype=self.point.float_dtype, device=self.point.device)
        if self.outputs == "sum":
            yield slice(None), eye.sum(0, keepdim=True) / classes**0.5
            return
        for c in range(0, classes, self.plan.classes):
            chosen = slice(c, min(c + self.plan.classes, classes))
            yield chosen if self.outputs == "diagonal" else slice(None), eye[chosen]

    def _arranged(self, kernel: Tensor) -> Tensor:
        if self.outputs == "full":
            return kernel.permute(1, 3, 0, 2)
        if self.outputs == "diagonal":
            return kernel[:, :, 0].permute(1, 2, 0)
        return kernel[0, :, 0] / (self.recipe1.classes if self.outputs == "mean" else 1)


@dataclass
class _Held:
    """The rows' gradients, kept from one block of columns to the next where all outputs are had at once."""

    outputs: str
    classes: int
    _terms: dict | None = None

    def terms(self, rows: Evaluation, along: Tensor) -> dict:
        """The gradients, from memory if they are the same as last time."""
        if self._terms is not None:
            return self._terms
        terms = rows.terms(along, self.outputs == "mean")
        if len(along) == along.shape[1] or self.outputs == "sum":
            self._terms = terms
            rows.release()
        return terms


class RepeatedKernel:
    """The kernel of a network at the same inputs as it is trained.

    ``empirical_ntk`` checks the factors against autograd in every call, for as much as a backward pass and their
    product. Here ``compute_checked`` does that; a later call only looks whether the forward pass does what the
    checked ones did, and takes the full way where it does not. Check it at points where no gradient vanishes: at a
    zero there is nothing to see.

    Args:
        memory_budget: bytes to use; by default half of what is free.
    """

    def __init__(self, memory_budget: int | None = None) -> None:
        self._budget = memory_budget
        self._recipe: Recipe | None = None

    def compute_checked(self, model: nn.Module, x: Any, layerwise: bool = False) -> dict[str, Tensor]:
        """The kernel, checked against autograd; parameters that fell back before, fall back.

        Raises:
            ModelError, DataError, KernelError: as ``empirical_ntk``.
        """
        return self._run(model, x, layerwise, checked=False)

    @property
    def checked(self) -> Callable[..., dict[str, Tensor]]:
        """The old name of ``compute_checked``."""
        text = "checked of a RepeatedKernel is now compute_checked; the old name will go"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return self.compute_checked

    def __call__(self, model: nn.Module, x: Any, layerwise: bool = False) -> dict[str, Tensor]:
        """The full kernel, [n, n, C, C], by the name of the layer, "" for all where they are not kept apart."""
        return self._run(model, x, layerwise, checked=self._recipe is not None)

    def _run(self, model: nn.Module, x: Any, layerwise: bool, checked: bool) -> dict[str, Tensor]:
        recipe = self._recipe if checked else None
        job = KernelJob(model, x, None, "full", None, self._budget, None, recipe)
        if not checked and self._recipe is not None:
            job.leave_to_fallback(self._recipe.fallback)
        found = job.run(False, layerwise)
        self._recipe = job.recipe1
        return found if isinstance(found, dict) else {"": found}
