"""Whether it is still the network that was given: the same tensors, and an optimizer that steps them."""

from weakref import ref

import torch
from torch import Tensor, nn

from ntkgap.errors import ModelError, StudyError
from ntkgap.models.substitution import unwrapped


class Identity:
    """The parameters of a network, as objects.

    Args:
        model: the network.
        optimizer: what steps it, if that is known.

    Raises:
        StudyError: if the optimizer steps other parameters.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
        self._model, self._optimizer = unwrapped(model), optimizer
        self._own = {name: ref(p) for name, p in self._model.named_parameters()}
        self._traits = {name: _traits(p) for name, p in self._model.named_parameters()}
        self._trained = {name for name, p in self._model.named_parameters() if p.requires_grad}
        self._check_optimizer()

    def check(self) -> None:
        """Refuse a network that is another one by now.

        Raises:
            ModelError: if parameters were added, removed, replaced, unfrozen, or have another type or place.
            StudyError: if the optimizer steps other parameters.
        """
        name = type(self._model).__name__
        present = dict(self._model.named_parameters())
        again = "make a new Monitor where the network has taken its final form"
        if added := sorted(present.keys() - self._own.keys()):
            raise ModelError(f"{name} has parameters that the start had not: {', '.join(added)}; {again}")
        if removed := sorted(self._own.keys() - present.keys()):
            raise ModelError(f"{name} has lost parameters since the start: {', '.join(removed)}; {again}")
        for path, p in present.items():
            if self._own[path]() is not p:
                raise ModelError(
                    f"{path!r} of {name} is another tensor than at the start, so that an optimizer made before "
                    "would step the old one; copy values in place (load_state_dict, p.data.copy_), or make a new "
                    "Monitor and optimizer"
                )
            if _traits(p) != self._traits[path]:
                before, now = (", ".join(map(str, t)) for t in (self._traits[path], _traits(p)))
                raise ModelError(f"{path!r} of {name} was {before} at the start and is {now}; {again}")
            if p.requires_grad and path not in self._trained:
                raise ModelError(f"{path!r} of {name} was frozen at the start and is trained now; {again}")
        self._check_optimizer()

    def _check_optimizer(self) -> None:
        if self._optimizer is None:
            return
        if not isinstance(self._optimizer, torch.optim.Optimizer):
            raise StudyError(f"optimizer= takes a torch.optim.Optimizer, got {type(self._optimizer).__name__}")
        stepped = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
        own = {id(p): name for name, p in self._model.named_parameters()}
        kind, name = type(self._optimizer).__name__, type(self._model).__name__
        if foreign := stepped - own.keys():
            raise StudyError(
                f"{kind} steps {len(foreign)} tensors that are no parameters of {name} (the network may have been "
                "copied, moved or wrapped after the optimizer was made); give the optimizer of this very network"
            )
        left = [n for i, n in own.items() if i not in stepped and n in self._trained]
        if left:
            shown = ", ".join(left[:5]) + (", …" if len(left) > 5 else "")
            raise StudyError(
                f"{kind} does not step {shown} of {name}, which require grad; freeze them "
                "(requires_grad_(False)), or give them to the optimizer"
            )


def _traits(p: Tensor) -> tuple[tuple[int, ...], torch.dtype, torch.device]:
    return tuple(p.shape), p.dtype, p.device
