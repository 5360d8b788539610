"""Which parameters a kernel is taken over."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from ntkgap.errors import KernelError, ModelError

ParameterSelection = (
    str | Tensor | nn.Module | Iterable[str | Tensor | nn.Module] | Callable[[str, nn.Parameter], bool] | None
)


def select_parameters(model: nn.Module, selection: ParameterSelection = None) -> dict[str, Tensor]:
    """Pick the parameters of ``model`` that a Jacobian is taken with respect to.

    Args:
        model: the network.
        selection: names as in ``model.named_parameters()``, parameters or modules of the model (one, or several
            of any kind), or a filter ``(name, parameter) -> bool``; by default every parameter with
            ``requires_grad``.

    Returns:
        name -> parameter, in the order of ``model.named_parameters()``.

    Raises:
        ModelError: if the model has no trainable parameter.
        KernelError: if a name is unknown, a parameter or module is not the model's, or nothing is selected.
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
    elif isinstance(selection, str | Tensor | nn.Module) or not callable(selection):
        if not isinstance(selection, str | Tensor | nn.Module | Iterable):
            raise KernelError(
                f"parameters= takes names, parameters or modules of the model, or a filter, got {selection!r}"
            )
        items = [selection] if isinstance(selection, str | Tensor | nn.Module) else list(selection)
        wanted = {name for item in items for name in _names_of(model, item)}
        chosen = {name: p for name, p in named.items() if name in wanted}
    else:
        try:
            chosen = {name: p for name, p in named.items() if selection(name, p)}
        except TypeError as error:
            raise KernelError(f"the filter parameters= takes (name, parameter) and failed: {error}") from error
    if not chosen:
        raise KernelError(f"parameters= selects none of the {len(named)} parameters: {', '.join(named)}")
    for name, p in chosen.items():
        if not p.is_floating_point():
            raise ModelError(
                f"parameter {name!r} is {p.dtype}; tangent kernels need real floating-point parameters"
            )
    return chosen


def _names_of(model: nn.Module, item: object) -> list[str]:
    """The names, as ``named_parameters`` gives them, of one thing that was selected."""
    named = dict(model.named_parameters())
    if isinstance(item, str):
        aliases = _aliases(model)
        inside = item.removeprefix("module.").removeprefix("_orig_mod.")  # of DataParallel and torch.compile
        item = item if item in aliases else inside
        if item not in aliases:
            raise KernelError(f"no parameter is called {item!r}; there are: {', '.join(named)}")
        return [aliases[item]]
    if isinstance(item, nn.Module):
        if not any(item is module for module in model.modules()):
            raise KernelError(f"parameters= holds a {type(item).__name__} that is not a module of the model")
        own = {id(p) for p in item.parameters()}
        return [name for name, p in named.items() if id(p) in own]
    found = [name for name, p in named.items() if p is item]
    if not found:
        what = f"a tensor of shape {tuple(item.shape)}" if isinstance(item, Tensor) else type(item).__name__
        raise KernelError(
            f"parameters= holds {what} that is not a parameter of the model; give names, parameters or modules of "
            "this very model"
        )
    return found


def _aliases(model: nn.Module) -> dict[str, str]:
    """Every name of every parameter (a tied one has several) -> the name ``named_parameters`` gives it."""
    first = {id(p): name for name, p in model.named_parameters()}
    return {name: first[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
