"""What the problems of all studies have in common: networks of one family on one data set, over widths."""

import warnings
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import NtkgapError, StudyError, StudyWarning
from ntkgap.one_line import line_of
from ntkgap.studies.cost import ITEM, PARAMETER_COPIES, Sizes, network_sizes, physical_memory
from ntkgap.studies.model import ModelSpec, Network, OwnModel
from ntkgap.studies.spec import DataSpec, Spec, Width
from ntkgap.studies.variations import Variations, varied

# A network of so many layers is built and traced in a few seconds.
MAX_DEPTH = 100

# The sizes of wide networks follow from this width, twice and thrice it; the widest of a user's built for that.
PROBE, WIDEST_BUILT = 64, 4096


class BaseProblem(Spec, ABC):
    """One network family on one data set, over widths.

    Attributes:
        name: what a reader calls it.
        data: the data.
        model: the network up to its width.
        widths: the widths.
        variations: what is varied besides, at a fixed width.

    Example:
        >>> class Problem(ng.studies.BaseProblem):
        ...     def describe(self):
        ...         return f"{self.data.n_train} examples of {self.data.name}."
        ...     def example(self, seed):
        ...         return self.data.load(seed)[0]
        ...
        >>> sizes = {"n_train": 20, "n_test": 10}
        >>> data, model = {"name": "digits", **sizes}, {"architecture": "mlp"}
        >>> Problem(name="mine", model=model, data=data, widths=[8, 64]).describe()
        '20 examples of digits.'
    """

    name: str
    data: DataSpec
    model: Network
    widths: list[Width] = Field(min_length=1)
    variations: Variations | None = None

    def __repr__(self) -> str:
        return line_of(self, repr(self.name), self.data.label, widths=self.widths)

    __str__ = __repr__

    @model_validator(mode="after")
    def _depth_is_in_reach(self) -> Self:
        depth = getattr(self.model, "depth", 1)
        if depth > MAX_DEPTH:
            raise ValueError(f"model: depth must be at most {MAX_DEPTH}, got {depth}")
        return self

    @model_validator(mode="after")
    def _variations_are_valid(self) -> Self:
        self.grids()
        return self

    def grids(self) -> dict[str, Self]:
        """The problem as it stands, at its widths and that of its variations, and each of its variations.

        Returns:
            Problems by what tells them apart: ``""`` for the first, then ``"model.alpha=10.0"`` and the like.

        Raises:
            ValueError: if a variation is not valid.
        """
        if self.variations is None:
            return {"": self}
        widths = sorted({*self.widths, *self.variations.at})
        return {"": self.model_copy(update={"widths": widths}), **varied(self, self.variations)}

    @property
    def own_code(self) -> dict[str | None, str]:
        """Names of a user's functions that its cells call, by fingerprint."""
        return self.model.own_code if isinstance(self.model, OwnModel) else {}

    @property
    def all_data(self) -> list[DataSpec]:
        """All data that its cells load."""
        return [self.data]

    def pinned(self) -> Self:
        """The same with data that come from files named by their content.

        Raises:
            DataError: if a file is missing.
        """
        return self.model_copy(update={"data": self.data.pinned()})

    @property
    def role(self) -> str:
        """What tells it from other problems of the study that have the same network and data, in a word."""
        return ""

    def title(self, network: str, data: str) -> str:
        """Name of the problem, of a network and data that a user put in place of a preset's."""
        return f"{network}, {data}"

    @classmethod
    def parts_of(cls, name: str) -> tuple[str, str]:
        """Network and data in the name of a preset's problem."""
        network, _, data = name.partition(", ")
        return network, data

    @classmethod
    def adapted(cls, settings: dict[str, Any], *, own_model: bool, own_data: bool) -> dict[str, Any]:
        """Settings of a preset's problem that suit a user's network or data, where those of the preset cannot."""
        return settings

    @classmethod
    def alternatives(cls, settings: dict[str, Any]) -> list[dict[str, Any]]:
        """Other settings to try where a user's data do not fit those of a preset's problem."""
        return []

    @abstractmethod
    def describe(self) -> str:
        """What was trained on what and for how long, in a line for the report."""

    @abstractmethod
    def example(self, seed: int) -> Dataset:
        """Inputs and targets of the shapes that networks have to take and return.

        Raises:
            NtkgapError: if the data cannot be loaded, or do not suit the problem.
        """

    @property
    def rows(self) -> int:
        """Rows of the largest matrix of pairs of examples that a cell holds."""
        return self.data.n_train

    @property
    def differentiated(self) -> int:
        """Examples whose gradients a cell holds at once."""
        return self.data.n_train

    def sizes(self, width: int) -> Sizes:
        """What a cell of a width holds in memory; of wide networks without building them.

        Raises:
            NtkgapError: if the data cannot be loaded or the network not be built.
        """
        data = self.example(seed=0)
        if width > (3 * PROBE if isinstance(self.model, ModelSpec) else WIDEST_BUILT):
            parameters, activations = self._wide_sizes(data, width)
        else:
            parameters, activations = network_sizes(self.network(data, width, Generator()), data.x)
        return Sizes(parameters, activations, self.rows, self.differentiated * data.n_outputs)

    def _wide_sizes(self, data: Dataset, width: int) -> tuple[int, int]:
        """Parameters and activations, quadratic polynomials of the width, from three narrow networks."""
        found = [network_sizes(self.network(data, k * PROBE, Generator()), data.x) for k in (1, 2, 3)]

        def at_width(one: int, two: int, three: int) -> int:
            steps, bend = width / PROBE - 1, (three - 2 * two + one) / 2
            return int(one + (two - one - bend) * steps + bend * steps**2)

        parameters, activations = (at_width(*counts) for counts in zip(*found, strict=True))
        return parameters, activations

    def network(self, data: Dataset, width: int, generator: Generator) -> nn.Module:
        """The network of a width, for inputs and targets like those of ``data``.

        Raises:
            StudyError: if it cannot be built, or takes other inputs or gives other outputs.
        """
        network = self.model.build(data, width, generator)
        if isinstance(self.model, OwnModel):
            check_outputs(self.model.factory, network, data)
        return network

    def check(self) -> None:
        """Load the data once and build the narrowest network, so that mistakes show before the sweep starts.

        A user's own factory may fail at some widths: that stays in those cells, unless it fails at all.

        Raises:
            NtkgapError: saying what cannot be loaded or built.
        """
        data = self.example(seed=0)
        self._check_narrowest(data)
        failure: NtkgapError | None = None
        for width in dict.fromkeys(min(w, WIDEST_BUILT) if self._is_own else w for w in sorted(self.widths)):
            try:
                network = self.network(data, width, Generator().manual_seed(0))
                if not isinstance(self.model, OwnModel):
                    network(data.x[:1])
                else:
                    self._check_repeats(network, data, width)
                    self._check_width_matters(network, data, width)
                return
            except NtkgapError as error:
                failure = failure or error
                if not isinstance(self.model, OwnModel):
                    break
            except (RuntimeError, MemoryError) as error:
                reason = str(error).splitlines()[0]
                raise StudyError(f"{self.name!r} cannot be built at width {width}: {reason}") from error
        assert failure is not None
        raise failure

    def _check_narrowest(self, data: Dataset) -> None:
        """Refuse parameters far beyond this machine before they are allocated.

        Raises:
            StudyError: naming both sizes.
        """
        if (width := min(self.widths)) <= (WIDEST_BUILT if self._is_own else 3 * PROBE):
            return
        try:
            needed = ITEM * PARAMETER_COPIES * self._wide_sizes(data, width)[0]
        except NtkgapError:  # the narrowest network that is tried will say why
            return
        if needed > 2 * (memory := physical_memory()):
            raise StudyError(
                f"{self.name!r} needs about {needed / 1e9:.3g} GB at width {width}, its narrowest, and this "
                f"machine has {memory / 1e9:.3g} GB; use smaller widths"
            )

    @property
    def _is_own(self) -> bool:
        return isinstance(self.model, OwnModel)

    def narrowest(self, data: Dataset) -> nn.Module | None:
        """The narrowest network that can be built; a user's own factory may fail at some widths, or at all."""
        for width in sorted(self.widths):
            with suppress(NtkgapError):
                return self.network(data, min(width, WIDEST_BUILT), Generator().manual_seed(0))
        return None

    def _check_width_matters(self, network: nn.Module, data: Dataset, width: int) -> None:
        """Warn of a factory that takes a width and does nothing with it."""
        wider = next((w for w in sorted(self.widths) if width < w <= WIDEST_BUILT), None)
        if wider is None:
            return
        with suppress(NtkgapError):
            other = self.network(data, wider, Generator().manual_seed(0))
            counts = [sum(p.numel() for p in net.parameters()) for net in (network, other)]
            if counts[0] == counts[1]:
                warnings.warn(
                    f"{self.name!r} has {counts[0]} parameters at width {width} and at width {wider}: its factory "
                    "does not use the width, so that verdicts over width mean nothing",
                    StudyWarning,
                    stacklevel=2,
                )

    def _check_repeats(self, network: nn.Module, data: Dataset, width: int) -> None:
        """Refuse a factory that draws what nobody can set, or hands out the same parameters twice.

        Raises:
            StudyError: naming a parameter that differs, or is shared.
        """
        assert isinstance(self.model, OwnModel)
        again = self.network(data, width, Generator().manual_seed(0))
        for (name, p), q in zip(network.named_parameters(), again.parameters(), strict=True):
            if p is q:
                raise StudyError(
                    f"two networks of {self.model.factory} share {name}, so that training one would change the "
                    "other; return a copy each time, copy.deepcopy(network)"
                )
            if p.shape != q.shape or (not p.detach().equal(q.detach()) and bool(p.isfinite().all())):
                raise StudyError(
                    f"{self.model.factory} gives {name} other values for the same seed; draw them with torch's, "
                    "numpy's or Python's global functions, or with the generator= that a factory may ask for"
                )


def check_outputs(name: str, network: nn.Module, data: Dataset) -> None:
    """Refuse a user's network that does not take these inputs, or returns something else than one output a target.

    Raises:
        StudyError: with both shapes.
    """
    x = data.x[:2]
    like = next((p for p in network.parameters() if p.is_floating_point()), None)
    x = x if like is None else x.to(like.dtype)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            outputs, again = network(x), network(x)
    except Exception as error:
        raise StudyError(
            f"the network of {name} does not take inputs of shape {tuple(x.shape)}: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}; build it for in_shape={tuple(x.shape[1:])}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise StudyError(
            f"the network of {name} returns {type(outputs).__name__}; wrap it so that it returns [n, C]"
        )
    shape, wanted = tuple(outputs.shape), (len(x), data.n_outputs)
    if shape not in ({wanted, (len(x),)} if data.n_outputs == 1 else {wanted}):
        remedy = f"give it {data.n_outputs} outputs" if len(shape) == 2 else f"it must return {wanted}"
        raise StudyError(
            f"the network of {name} returns {shape} for {len(x)} examples, but the data have "
            f"{data.n_outputs} targets an example; {remedy}"
        )
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        alone = network(x[:1])
    scale = float(outputs.abs().max())
    if bool(outputs.isfinite().all()) and not torch.allclose(outputs[:1], alone, rtol=1e-3, atol=1e-3 * scale):
        raise StudyError(
            f"the network of {name} says something else of an example if others are in the same call; in "
            "evaluation mode every output must depend on its own input alone"
        )
    if not outputs.equal(again) and bool((outputs.isfinite() & again.isfinite()).all()):
        raise StudyError(
            f"the network of {name} returns other numbers for the same inputs in evaluation mode; what it draws "
            "in forward must depend on self.training, as in functional.dropout(x, training=self.training)"
        )
