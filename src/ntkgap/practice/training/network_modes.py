"""Batch statistics and random masks: networks are trained with them, and asked without.

The policy of all trainings, written out for users in docs/training.md:

* While parameters are updated a network is in train mode: batches are normalized by their own statistics, running
  statistics follow, masks are drawn. Parts that are in evaluation mode within a network in train mode stay so.
* Losses and outputs that are reported, kernels and predictions are taken in evaluation mode, with running
  statistics and without masks: no number depends on which other points are in the call.
* Masks come from a seed, so that the same call gives the same numbers; the random state of the process is left
  alone. Flags are given back as they were.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.errors import ModelError, NtkgapError, StudyError
from ntkgap.models.calls import output_tensor
from ntkgap.models.randomness import Seeded
from ntkgap.models.substitution import call_with, replicate
from ntkgap.practice.training.narrow_convolutions import refusing_narrow_convolutions

# Examples on which the two modes are compared.
PROBED = 16

# Seeds are integers below it.
SEEDS = 2**62


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """No dropout, no update of running statistics; afterwards every module is in its own mode again."""
    with _flags_kept(model):
        model.eval()
        yield


@contextmanager
def training_mode(model: nn.Module) -> Iterator[None]:
    """Train mode; in a network that is in train mode already, parts keep their own."""
    with _flags_kept(model):
        set_training(model)
        yield


def set_training(model: nn.Module) -> None:
    """Train mode for good; in a network that is in train mode already, parts keep their own."""
    if not model.training:
        model.train()


@contextmanager
def _flags_kept(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class Modes:
    """How one network is trained, and how it is asked.

    Args:
        model: any network.
        x: inputs like those it is trained on, [n, ...].
        generator: gives the seed of its masks; it is not moved.

    Attributes:
        seed: of the masks.
        differ: whether the network does something else in train mode than in evaluation mode. Where it does not,
            nothing is switched.

    Raises:
        ModelError: if what it says about a point depends on the other points of the call, or on chance, even in
            evaluation mode.
    """

    def __init__(self, model: nn.Module, x: Tensor, generator: torch.Generator) -> None:
        refuse_dependence(model, x)
        self._model, self._device = model, x.device
        self.differ = modes_differ(model, x)
        self.seed = draw_seed(generator) if self.differ else 0

    @contextmanager
    def updating(self, step: int) -> Iterator[None]:
        """Train mode, with the masks of a step.

        Raises:
            StudyError: if a batch is too small for its own statistics.
        """
        with ExitStack() as stack:
            if self.differ:
                stack.enter_context(training_mode(self._model))
                stack.enter_context(Masks(self.seed, step, self._device))
            with enough_for_statistics():
                yield

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Evaluation mode."""
        with ExitStack() as stack:
            if self.differ:
                stack.enter_context(evaluation_mode(self._model))
            yield


@contextmanager
def enough_for_statistics() -> Iterator[None]:
    """Say what to do where batch normalization is given a single number a channel.

    Raises:
        StudyError: in place of torch's error.
    """
    try:
        yield
    except ValueError as error:
        if isinstance(error, NtkgapError) or "more than 1 value per channel" not in str(error):
            raise
        raise StudyError(
            "a batch has a single example, of which batch normalization has no statistics; choose a batch_size "
            "that "
            "leaves more in the last batch, or keep_last=False"
        ) from error


def draw_seed(generator: torch.Generator) -> int:
    """A seed from where a source of randomness is; it stays there, so that its other uses do not notice."""
    replica = torch.Generator(generator.device)
    replica.set_state(generator.get_state())
    return int(torch.randint(SEEDS, (), generator=replica, device=replica.device))


class Masks:
    """Random numbers of one step: a training that is gone on with draws what it would have drawn.

    What is drawn goes on where it was when it is entered again, and is the same on every device. A few fused
    functions of CUDA (recurrent layers, attention with dropout) draw from the generator of their device, which no
    dispatch can replace: that one is put aside meanwhile.

    Args:
        seed: of the training.
        step: the number of the update.
        device: on which is drawn.
    """

    def __init__(self, seed: int, step: int, device: torch.device) -> None:
        self._number, self._device = (seed + step) % 2**63, device
        self._seeded = Seeded(self._number)
        self._inside: Tensor | None = None

    def __enter__(self) -> None:
        self._seeded.__enter__()
        if self._device.type == "cuda":
            self._outside = torch.cuda.get_rng_state(self._device)
            if self._inside is not None:
                torch.cuda.set_rng_state(self._inside, self._device)
                return
            with torch.cuda.device(self._device):
                torch.cuda.manual_seed(self._number)

    def __exit__(self, *error: Any) -> None:
        if self._device.type == "cuda":
            self._inside = torch.cuda.get_rng_state(self._device)
            torch.cuda.set_rng_state(self._outside, self._device)
        self._seeded.__exit__(*error)


def modes_differ(model: nn.Module, x: Tensor) -> bool:
    """Whether a network does something else in train mode than in evaluation mode, or changes its buffers there.

    Seen on a few examples, on a replica; dropout, which may drop nothing of these, and batch normalization are
    known by their kind.
    """
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    replica = replicate(model, buffers)
    set_training(replica)
    if any(_draws_or_couples(module) for module in replica.modules()):
        return True
    x = x[:PROBED]
    try:
        with torch.no_grad(), Masks(0, 0, x.device):
            trained = output_tensor(replica, replica(x))
    except Exception:  # too few examples for a batch, or anything else: the modes are then kept apart with care
        return True
    if any(not torch.equal(buffers[name], buffer) for name, buffer in model.named_buffers()):
        return True
    with torch.no_grad(), evaluation_mode(model):
        return not _close(trained, output_tensor(model, model(x)))


def refuse_dependence(model: nn.Module, x: Tensor) -> None:
    """Refuse networks whose outputs at a point, in evaluation mode, are not those of that point alone.

    Raises:
        ModelError: naming the layer, where it is one of torch's; or one whose gradients would be wrong.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise ModelError(
                f"{name or 'the network'!r} ({type(module).__name__}) keeps no running statistics, so that what "
                f"the "
                "network says about a point depends on the other points of the call; leave "
                "track_running_stats=True, or use nn.GroupNorm"
            )
    if len(x) < 2:
        return
    found = []
    with torch.no_grad(), evaluation_mode(model), refusing_narrow_convolutions(model):
        for seed, pair in enumerate((x[:2], torch.cat([x[:1], x[:1]]))):
            with Masks(seed, 0, x.device):
                found.append(called(model, pair)[0])
    if not _close(*found):
        raise ModelError(
            f"what {type(model).__name__} says about a point depends on the other points of the call, or on "
            f"chance, "
            "in evaluation mode too; use running statistics there, and draw random numbers only if self.training"
        )


def called(model: nn.Module, x: Tensor, tensors: Mapping[str, Tensor] | None = None) -> Tensor:
    """The outputs of a network, with other tensors in place of its own if they are given.

    Raises:
        ModelError: if it does not take such inputs, or returns no tensor.
    """
    try:
        return output_tensor(model, model(x) if tensors is None else call_with(model, tensors, (x,)))
    except RuntimeError as error:
        if isinstance(error, NtkgapError | torch.cuda.OutOfMemoryError):
            raise
        raise ModelError(
            f"{type(model).__name__} cannot be called on inputs of shape {tuple(x.shape)}: {error}"
        ) from error


def _draws_or_couples(module: nn.Module) -> bool:
    if not module.training:
        return False
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return module.dropout > 0
    return isinstance(module, nn.modules.batchnorm._BatchNorm | nn.RReLU)


def _close(one: Tensor, two: Tensor) -> bool:
    """Equal up to rounding, relative to the largest."""
    if one.shape != two.shape:
        return False
    size = float(two.abs().nan_to_num(0.0, posinf=0.0).max()) if two.numel() else 0.0
    return torch.allclose(one, two, rtol=0.0, atol=torch.finfo(two.dtype).eps ** 0.5 * size, equal_nan=True)
