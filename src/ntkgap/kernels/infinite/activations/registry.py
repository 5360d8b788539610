"""Which activation a torch module, function or method is."""

import inspect
import operator
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ntkgap.kernels.infinite.activations.base import Activation
from ntkgap.kernels.infinite.activations.error_functions import ErrorFunction, GaussianErrorLinearUnit
from ntkgap.kernels.infinite.activations.exponential import Exponential, GaussianBump
from ntkgap.kernels.infinite.activations.mehler import NumericalActivation
from ntkgap.kernels.infinite.activations.polynomial import Identity, Polynomial
from ntkgap.kernels.infinite.activations.rectifiers import ABReLU
from ntkgap.kernels.infinite.activations.trigonometric import Sine
from ntkgap.models import nonlinearities


def _leaky_relu(negative_slope: float = 0.01, inplace: bool = False) -> Activation:
    return ABReLU(negative_slope, 1.0, negative_slope, f"leaky_relu({negative_slope:g})")


def _gelu(approximate: str = "none") -> Activation:
    if approximate == "none":
        return GaussianErrorLinearUnit()
    return NumericalActivation(partial(F.gelu, approximate=approximate), f"gelu({approximate})")


def _power(exponent: float) -> Activation | None:
    if exponent < 0 or exponent != int(exponent):
        return None
    return Identity() if exponent == 1 else Polynomial([0.0] * int(exponent) + [1.0], f"x^{int(exponent)}")


def _numerical(function: Callable[..., Tensor], *options: str) -> Callable[..., Activation]:
    """Builder of an activation by quadrature that takes the named options of ``function``, in torch's order."""

    def build(*values: float, inplace: bool = False, **named: float) -> Activation:
        settings = dict(zip(options, values, strict=False)) | named
        text = ", ".join(f"{v:g}" for v in settings.values())
        name = function.__name__ + (f"({text})" if text else "")
        return NumericalActivation(partial(function, **settings), name)

    kinds = inspect.Parameter
    parameters = [kinds(o, kinds.POSITIONAL_OR_KEYWORD, default=None) for o in options]
    parameters.append(kinds("inplace", kinds.POSITIONAL_OR_KEYWORD, default=False))
    build.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return build


# By torch's names; the parameters of a builder are those of the torch function after its input.
_FUNCTIONS: dict[str, Callable[..., Activation | None]] = {
    "relu": lambda inplace=False: ABReLU(0, 1, 0, "relu"),
    "leaky_relu": _leaky_relu,
    "abs": lambda: ABReLU(-1, 1, 0, "abs"),
    "absolute": lambda: ABReLU(-1, 1, 0, "abs"),
    "erf": lambda: ErrorFunction(),
    "gelu": _gelu,
    "sin": lambda: Sine(name="sin"),
    "cos": lambda: Sine(phase=torch.pi / 2, name="cos"),
    "exp": lambda: Exponential(),
    "square": lambda: _power(2),
    "pow": _power,
    "tanh": _numerical(torch.tanh),
    "sigmoid": _numerical(torch.sigmoid),
    "silu": _numerical(F.silu),
    "softplus": _numerical(F.softplus, "beta", "threshold"),
    "elu": _numerical(F.elu, "alpha"),
    "selu": _numerical(F.selu),
    "celu": _numerical(F.celu, "alpha"),
    "hardtanh": _numerical(F.hardtanh, "min_val", "max_val"),
    "relu6": _numerical(F.relu6),
    "mish": _numerical(F.mish),
    "hardswish": _numerical(F.hardswish),
    "hardsigmoid": _numerical(F.hardsigmoid),
    "logsigmoid": _numerical(F.logsigmoid),
    "softsign": _numerical(F.softsign),
    "tanhshrink": _numerical(F.tanhshrink),
    "softshrink": _numerical(F.softshrink, "lambd"),
    "atan": _numerical(torch.atan),
    "arctan": _numerical(torch.atan),
    "sinh": _numerical(torch.sinh),
    "cosh": _numerical(torch.cosh),
    "expm1": _numerical(torch.expm1),
    "erfc": _numerical(torch.erfc),
}

_MODULES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.ReLU: ("relu", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.GELU: ("gelu", ("approximate",)),
    nn.Tanh: ("tanh", ()),
    nn.Sigmoid: ("sigmoid", ()),
    nn.SiLU: ("silu", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
    nn.ELU: ("elu", ("alpha",)),
    nn.SELU: ("selu", ()),
    nn.CELU: ("celu", ("alpha",)),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.ReLU6: ("relu6", ()),
    nn.Mish: ("mish", ()),
    nn.Hardswish: ("hardswish", ()),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.LogSigmoid: ("logsigmoid", ()),
    nn.Softsign: ("softsign", ()),
    nn.Tanhshrink: ("tanhshrink", ()),
    nn.Softshrink: ("softshrink", ("lambd",)),
    nonlinearities.Erf: ("erf", ()),
    nonlinearities.Cos: ("cos", ()),
    nonlinearities.Abs: ("abs", ()),
    nonlinearities.Exp: ("exp", ()),
}


def _names_of_functions() -> dict[Callable, str]:
    homes = (torch, F, torch.Tensor, torch.special)
    found: dict[Callable, str] = {}
    for name in _FUNCTIONS:
        for home in homes:
            for spelling in (name, f"{name}_", f"__{name}__"):
                function = getattr(home, spelling, None)
                if callable(function):
                    found[function] = name
    found |= {
        abs: "abs",
        pow: "pow",
        operator.pow: "pow",
        operator.abs: "abs",
        torch.special.expit: "sigmoid",
        torch.Tensor.__pow__: "pow",
    }
    return found


_NAMES = _names_of_functions()


def find_activation(
    module_or_function: nn.Module | Callable | str, *arguments: object, **call_arguments: object
) -> Activation | None:
    """The activation that a module, a function or a method stands for, or ``None`` if it is not a known one.

    Modules count by their exact class: a subclass may compute something else. ``nn.PReLU`` has parameters
    and is none; ``nn.RReLU`` is one in evaluation mode only, where its slope is fixed.

    Args:
        module_or_function: an ``nn.Module``, a torch function such as ``F.relu`` or ``torch.Tensor.relu``, or
            the name of a tensor method such as ``"relu_"``.
        arguments: what a call of the function was given after the tensor, in torch's order.
        call_arguments: the same by name.
    """
    if isinstance(module_or_function, nn.Module):
        return _of_module(module_or_function)
    if isinstance(module_or_function, str):
        name = module_or_function if module_or_function in _FUNCTIONS else module_or_function.removesuffix("_")
    else:
        try:
            name = _NAMES.get(module_or_function, "")
        except TypeError:  # a callable that cannot be hashed is none of torch's
            return None
    if name not in _FUNCTIONS or any(isinstance(a, Tensor) for a in (*arguments, *call_arguments.values())):
        return None
    builder = _FUNCTIONS[name]
    try:
        inspect.signature(builder).bind(*arguments, **call_arguments)
    except TypeError:  # arguments that this function is not known to take
        return None
    return builder(*arguments, **call_arguments)


def _of_module(module: nn.Module) -> Activation | None:
    kind = type(module)
    if kind in _MODULES:
        name, options = _MODULES[kind]
        return find_activation(name, **{option: getattr(module, option) for option in options})
    if isinstance(module, nn.Identity):
        return Identity() if kind is nn.Identity else None
    if isinstance(module, nn.RReLU) and kind is nn.RReLU and not module.training:
        return _leaky_relu((module.lower + module.upper) / 2)
    if kind is nonlinearities.Sin:
        return Sine(module.scale, module.frequency, module.phase)  # type: ignore[arg-type]
    if kind is nonlinearities.RBF:
        gamma = float(module.gamma)  # type: ignore[arg-type]
        return Sine(2**0.5, (2 * gamma) ** 0.5, torch.pi / 4, f"rbf({gamma:g})")
    if kind is nonlinearities.ExpSquare:
        return GaussianBump()
    if kind in (nonlinearities.Polynomial, nonlinearities.Monomial):
        return Polynomial(module.coefficients)  # type: ignore[arg-type]
    return None


def quadrature_of(function: Callable[[Tensor], Tensor], name: str) -> Activation:
    """The activation of any scalar function of a tensor, or parameter-free elementwise module, by quadrature.

    Raises:
        KernelError: if the function is random, changes shapes or is not finite.
    """
    return NumericalActivation(function, name)
