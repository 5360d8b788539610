"""A user's network, data and sizes in place of a preset's."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Generator

from ntkgap.data.arrays import own_file, own_names
from ntkgap.data.own import is_own
from ntkgap.errors import DataError, NtkgapError, StudyError, StudyWarning
from ntkgap.models import describe
from ntkgap.studies import given_data
from ntkgap.studies.model import OwnModel
from ntkgap.studies.problem import BaseProblem
from ntkgap.studies.variations import Variations


class Built(Protocol):
    """A study, as far as it matters here."""

    @property
    def problems(self) -> Sequence[BaseProblem]: ...  # noqa: D102


S = TypeVar("S", bound=Built)
Settings = dict[str, Any]


@dataclass(frozen=True)
class Changes:
    """What replaces parts of a preset's problems; nothing where it is None.

    Attributes:
        model: a user's own network.
        data: name, options and fingerprint of other data.
        own_data: whether these are a user's own.
        data_label: what a reader calls them.
        widths: the widths.
        sizes: numbers of examples, by name.
    """

    model: OwnModel | None
    data: Settings | None
    own_data: bool
    data_label: str
    widths: Sequence[int] | None
    sizes: Mapping[str, int]

    @classmethod
    def of(
        cls,
        model: Any,
        data: Any,
        target: str | None,
        widths: Sequence[int] | None,
        n_train: int | None,
        n_test: int | None,
    ) -> "Changes":
        """As ``BaseStudy.preset`` is given them.

        Raises:
            NtkgapError: if a network or data cannot be loaded.
        """
        sizes = {k: v for k, v in (("n_train", n_train), ("n_test", n_test)) if v is not None}
        for name, number in [*sizes.items(), *(("widths", width) for width in widths or ())]:
            if isinstance(number, bool) or not isinstance(number, int):
                raise StudyError(f"{name} must be whole numbers, got {number!r}")
            if number < 1:
                raise StudyError(f"{name} must be greater than or equal to 1, got {number}")
        if isinstance(data, Path):
            data = str(data)
        own_data = is_own(data) or (isinstance(data, str) and bool(own_names(data)))
        replaced, label = _data(data, target)
        if target is not None and not own_data:
            raise StudyError("target= names the column of targets of one's own table; give it with data=")
        own = None if model is None else OwnModel.of(model)
        if own is not None and own.one_network and widths is not None:
            raise StudyError(
                f"{own.factory} takes no width, so that there is one network: leave the widths out, or give the "
                "factory an argument width"
            )
        return cls(own, replaced, own_data, label, widths, sizes)

    def apply(self, build: Callable[[Settings, str], S], configuration: Settings, origin: str) -> S:
        """The study with everything replaced.

        Args:
            build: makes a study of a configuration, and names where that comes from in messages.
            configuration: of the preset.
            origin: what messages call it.

        Raises:
            StudyError: if a value is out of range, or no problem fits the user's network or data.
        """
        problems = [self._changed(settings) for settings in configuration["problems"]]
        if self.model is None and not self.own_data:
            named = [self._named(p, before) for p, before in zip(problems, configuration["problems"], strict=True)]
            return build(configuration | {"problems": named}, origin)
        fitting: dict[tuple[str, str, str], Settings] = {}
        left_out: dict[str, str] = {}
        for settings, before in zip(problems, configuration["problems"], strict=True):
            kind = type(build(configuration | {"problems": [before]}, origin).problems[0])
            tried = [kind.adapted(settings, own_model=self.model is not None, own_data=self.own_data)]
            tried += kind.alternatives(tried[0]) if self.own_data else []
            for attempt in tried:
                try:
                    found = self._fitted(build, configuration | {"problems": [attempt]}, before, origin)
                    key = (found.pop("role"), found["data"]["name"], repr(found["model"].get("options")))
                    fitting.setdefault(key, found)
                    break
                except NtkgapError as error:
                    left_out.setdefault(before["name"], str(error))
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items())
        if not fitting:
            one = f"{origin} has no problem for this network and these data: {reasons}"
            raise StudyError(next(iter(left_out.values())) if len(set(left_out.values())) == 1 else one)
        if left_out:
            warnings.warn(f"left out, as they do not fit: {reasons}", StudyWarning, stacklevel=3)
        return build(configuration | {"problems": list(fitting.values())}, origin)

    def _changed(self, settings: Settings) -> Settings:
        """Settings of a problem with other parts."""
        settings = copy.deepcopy(settings)
        variations = settings.get("variations")
        if self.data is not None:
            settings["data"] |= self.data
        settings["data"] |= self.sizes
        if self.widths is not None:
            settings["widths"] = list(self.widths)
            if variations is not None and not set(Variations(**variations).at) <= set(self.widths):
                settings.pop("variations")
        if self.model is not None:
            own = self.model.model_dump(mode="json", exclude_none=True)
            if self._is_named_by(settings):
                own["options"] = settings["model"].get("options", {}) | own["options"]
            else:
                settings.pop("variations", None)  # as a rule they are settings of the network
            settings["model"] = own
        return settings

    def _is_named_by(self, settings: Settings) -> bool:
        """Whether a problem asks for the very network that the user gives."""
        return self.model is not None and settings["model"].get("factory") == self.model.factory

    def _fitted(
        self, build: Callable[[Settings, str], Built], configuration: Settings, before: Settings, origin: str
    ) -> Settings:
        """Settings of the one problem of a configuration, tried with the user's network and data, and its role.

        Raises:
            NtkgapError: if it does not fit them.
        """
        (settings,) = configuration["problems"]
        problem: BaseProblem = build(configuration, origin).problems[0]
        if self.model is not None and self.model.one_network:
            settings = settings | {"widths": [_width_of(problem)]}
            problem = build(configuration | {"problems": [settings]}, origin).problems[0]
        problem.check()
        before_network, _ = problem.parts_of(before["name"])
        network = before_network if self.model is None or self._is_named_by(before) else self.model.factory
        label = self.data_label or Path(before["data"]["name"]).stem
        return settings | {"name": problem.title(network, label), "role": problem.role}

    def _named(self, settings: Settings, before: Settings) -> Settings:
        if self.data is None:
            return settings
        return settings | {"name": f"{before['name'].split(',')[0]}, {self.data_label}"}


def _data(data: Any, target: str | None) -> tuple[Settings | None, str]:
    """Entries of a ``DataSpec``, and what a reader calls the data.

    Raises:
        DataError: if they are no data.
    """
    if data is None:
        return None, ""
    if is_own(data):
        key = given_data.remember(data, target)
        return {"name": given_data.GIVEN, "options": {}, "fingerprint": key}, given_data.GIVEN
    if not isinstance(data, str):
        raise DataError(
            f"data= takes a name, a file, or inputs with their targets, (x, y); got {type(data).__name__}"
        )
    options = {} if target is None else {"target": target}
    files = [own_file(name) for name in own_names(str(data))]
    label = ", ".join(own[0].stem for own in files if own) or Path(str(data)).stem
    return {"name": str(data), "options": options}, label


def _width_of(problem: BaseProblem) -> int:
    """The largest width of hidden layers of a network that is as it is."""
    network = problem.network(problem.example(seed=0), 1, Generator().manual_seed(0))
    return max(describe(network).widths, default=1)
