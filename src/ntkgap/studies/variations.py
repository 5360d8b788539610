"""Settings other than the width, varied one at a time at a fixed width."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from ntkgap.axis_names import axis_label
from ntkgap.studies.faults import plain
from ntkgap.studies.spec import Spec, Width

Value = bool | int | float | str | None
"""A setting that can be varied; None where it is not set."""

P = TypeVar("P", bound=Spec)

NOT_SETTINGS = ("name", "widths", "variations")


class Variations(Spec):
    """What is varied besides the width.

    Everything else stays as the problem has it, the random numbers included: a seed's networks start from the same
    draws at every value of an axis whose values leave the sizes of the layers alone.

    Attributes:
        width: the fixed width; the problem as it stands is measured there too, as the point of its own value.
            Several where networks of one width are compared with those of another.
        axes: values by setting, in dots as in ``"model.alpha"``.
    """

    width: Width | Annotated[list[Width], Field(min_length=1)]
    axes: dict[str, list[Value]] = Field(min_length=1)

    @property
    def at(self) -> list[int]:
        """The fixed width or widths."""
        return self.width if isinstance(self.width, list) else [self.width]


def value_text(value: Value) -> str:
    """A value as text: numbers short, yes and no, ``"none"`` where nothing is set."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_numeric(values: list[Value]) -> bool:
    """Whether values have an order of their own."""
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def variation_name(cell: Mapping[str, Any]) -> str:
    """In what a cell differs from its problem, like ``"α = 10.0"``; empty where it does not."""
    axis, _, value = str(cell.get("variation", "")).partition("=")
    return f"{axis_label(axis)} = {value}" if axis else ""


def setting(problem: Spec, axis: str) -> Value:
    """The value of a setting.

    Raises:
        ValueError: if there is no such setting, or it cannot be varied.
    """
    part: Any = problem.model_dump(mode="json", exclude=set(NOT_SETTINGS))
    if axis in ("data.name", "data.fingerprint", "data.where"):
        raise ValueError(f"variations: {axis} cannot be an axis; other data are a problem of their own")
    if axis == "model.normalization":  # cells do not name what they do not have
        raise ValueError(f"variations: {axis} cannot be an axis; networks with it are a problem of their own")
    for i, name in enumerate(axis.split(".")):
        if not isinstance(part, Mapping) or name not in part:
            where = ".".join(axis.split(".")[:i])
            known = ", ".join(f"{where}.{k}" if where else k for k in part) if isinstance(part, Mapping) else ""
            remedy = f"; choose one of {known}" if known else ""
            raise ValueError(f"variations: there is no setting {axis!r}{remedy}")
        part = part[name]
    if isinstance(part, Mapping | list):
        what = f"choose one of {', '.join(f'{axis}.{k}' for k in part)}" if isinstance(part, Mapping) else "a list"
        raise ValueError(f"variations: {axis!r} is not a single setting; {what}")
    return part


def with_setting(problem: P, axis: str, value: Value, widths: list[int]) -> P:
    """The problem with another value of one setting, at these widths and without variations of its own.

    Raises:
        ValueError: if that is no valid problem; the message names the axis and the value.
    """
    settings = problem.model_dump(mode="json") | {"widths": widths, "variations": None}
    *sections, name = axis.split(".")
    part = settings
    for section in sections:
        part = part[section]
    part[name] = value
    try:
        return type(problem).model_validate(settings)
    except ValidationError as error:
        wrong = "; ".join(plain(e["msg"]) for e in error.errors())
        raise ValueError(f"variations: {axis} cannot be {value!r}: {wrong}") from None


def varied(problem: P, variations: Variations) -> dict[str, P]:
    """The problem at every value of every axis but its own, by a key that names axis and value.

    Raises:
        ValueError: if a setting does not exist, a value is not valid or given twice, or an axis has no value but
            the problem's own.
    """
    found: dict[str, P] = {}
    for axis, values in variations.axes.items():
        own = setting(problem, axis)
        problems = [with_setting(problem, axis, value, variations.at) for value in values]
        kept = [setting(p, axis) for p in problems]
        if repeated := [v for i, v in enumerate(kept) if v in kept[:i]]:
            raise ValueError(f"variations: {axis} has the value {repeated[0]!r} twice")
        others = {f"{axis}={v}": p for v, p in zip(kept, problems, strict=True) if v != own}
        if not others:
            raise ValueError(f"variations: {axis} needs a value besides the problem's own, {own!r}")
        found |= others
    return found
