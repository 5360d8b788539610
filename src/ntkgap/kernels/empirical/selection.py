"""Which parameters a kernel is taken over."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from ntkgap.errors import KernelError, ModelError

ParameterSelection = Iterable[str] | Callable[[str, nn.Parameter], bool] | None


def select_parameters(model: nn.Module, selection: ParameterSelection = None) -> dict[str, Tensor]:
    """Pick the parameters of ``model`` that a Jacobian is taken with respect to.

    Args:
        model: the network.
        selection: names as in ``model.named_parameters()``, or a filter ``(name, parameter) -> bool``;
            by default every parameter with ``requires_grad``.

    Returns:
        name -> parameter, in the order of ``model.named_parameters()``.

    Raises:
        ModelError: if the model has no trainable parameter.
        KernelError: if a name is unknown or nothing is selected.
    """
    named = dict(model.named_parameters())
    chosen: dict[str, Tensor]
    if not named:
        raise ModelError(f"{type(model).__name__} has no parameters, so it has no tangent kernel")
    if selection is None:
        chosen = {name: p for name, p in named.items() if p.requires_grad}
        if not chosen:
            raise ModelError(
                f"all {len(named)} parameters of {type(model).__name__} are frozen (requires_grad=False); "
                "unfreeze some, or name those to use with parameters=[...]"
            )
    elif callable(selection):
        chosen = {name: p for name, p in named.items() if selection(name, p)}
    else:
        names = [selection] if isinstance(selection, str) else list(selection)
        aliases = _aliases(model)
        unknown = [name for name in names if name not in aliases]
        if unknown:
            raise KernelError(f"no parameter is called {unknown[0]!r}; there are: {', '.join(named)}")
        wanted = {aliases[name] for name in names}
        chosen = {name: p for name, p in named.items() if name in wanted}
    if not chosen:
        raise KernelError(f"parameters= selects none of the {len(named)} parameters: {', '.join(named)}")
    for name, p in chosen.items():
        if not p.is_floating_point():
            raise ModelError(
                f"parameter {name!r} is {p.dtype}; tangent kernels need real floating-point parameters"
            )
    return chosen


def _aliases(model: nn.Module) -> dict[str, str]:
    """Every name of every parameter (a tied one has several) -> the name ``named_parameters`` gives it."""
    first = {id(p): name for name, p in model.named_parameters()}
    return {name: first[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
