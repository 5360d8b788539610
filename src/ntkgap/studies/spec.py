"""The parts every study is specified with."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator

from ntkgap.data import Dataset, data_files, data_folders, fingerprint, load_data
from ntkgap.data.arrays import own_file, own_name, own_names
from ntkgap.errors import DataError
from ntkgap.studies.faults import Checked
from ntkgap.studies.given_data import GIVEN, given

# No size, count or number of steps is larger; what is computed of them then never overflows.
LARGEST = 10**9

Width = Annotated[int, Field(ge=1, le=LARGEST)]
Seed = Annotated[int, Field(ge=0, le=2**53)]


class Spec(Checked):
    """A part of a study's specification: immutable, and a misspelled key is an error.

    Numbers are numbers: no text or truth value is taken for one, and no whole number is beyond ``LARGEST``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @field_validator("*")
    @classmethod
    def _in_reach(cls, value: Any) -> Any:
        if wrong := [n for n in _leaves(value) if isinstance(n, int) and abs(n) > LARGEST]:
            raise ValueError(
                f"no whole number can be beyond {LARGEST}, and one has {len(str(abs(wrong[0])))} digits"
            )
        return value


def _leaves(value: Any) -> Iterator[Any]:
    """All values in lists and mappings."""
    if isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(part)
    else:
        yield value


class DataSpec(Spec):
    """Which data, and how many.

    Attributes:
        name: as for ``load_data``.
        n_train: number of training examples.
        n_test: number of test examples.
        options: what the data set takes besides.
        fingerprint: hash of the data files' contents, filled in when cells are made: other content under
            the same name is another cell, and is not loaded as this one.
        where: folder of the data files, filled in with the fingerprint. The content says which data they are, so
            the folder is no part of what a cell is (see ``sweep.study.WHERE``): the same files elsewhere, or
            another spelling of their path, are the same cell.
    """

    name: str
    n_train: int = Field(ge=1)
    n_test: int = Field(default=64, ge=1)
    options: dict[str, Any] = Field(default_factory=dict)
    fingerprint: str | None = None
    where: str | None = None

    @field_validator("options")
    @classmethod
    def _no_sizes(cls, options: dict[str, Any]) -> dict[str, Any]:
        if taken := {"name", "path", "n_train", "n_test", "seed"} & set(options):
            raise ValueError(f"options cannot hold {', '.join(sorted(taken))}; that has a key of its own")
        return options

    @property
    def label(self) -> str:
        """What a reader calls the data; of a user's own also how they are scaled."""
        names = own_names(self.name)
        if not names and self.name != GIVEN:
            return Path(self.name).stem
        label = ", ".join(Path(name).stem for name in names) or self.name
        scaling = self.options.get("scaling", "standardize")
        rule = {
            "standardize": "standardized over the training rows, images by channel and tables by column",
            "unit_norm": "each example divided by its norm",
        }
        return f"{label} ({rule.get(scaling, 'unscaled')})"

    @property
    def given_keys(self) -> list[str | None]:
        """Fingerprints of arrays that the user gave; several where each task has its own."""
        if self.name != GIVEN:
            return []
        return [None] if self.fingerprint is None else list(self.fingerprint.split(","))

    def pinned(self) -> "DataSpec":
        """The same data, named by their content if they come from files, with the folder set apart.

        Raises:
            DataError: if a file is missing.
        """
        files = self._files()
        if not files:  # they come with the library, or the user gave them as arrays
            return self
        update: dict[str, Any] = {"fingerprint": fingerprint(files)}
        if names := own_names(self.name):
            # Of several files the folder that all are in, and the rest of their paths.
            folder = Path(os.path.commonpath([file.parent for file in files]))
            pairs = zip(names, files, strict=True)
            moved = [_named(name, str(file.relative_to(folder))) for name, file in pairs]
            update |= {"name": ",".join(moved), "where": str(folder)}
        elif (root := self.options.get("root")) is not None:
            update |= {"options": {k: v for k, v in self.options.items() if k != "root"}}
            update |= {"where": str(data_folders(root)[0])}
        return self.model_copy(update=update)

    def own_files(self) -> dict[str, list[str]]:
        """Files of a user's data: paths below the folder that cells name as theirs.

        Raises:
            DataError: if one is missing.
        """
        pinned = self.pinned()
        if not (names := own_names(pinned.name)) or pinned.where is None:
            return {}
        return {pinned.where: [_path(name) for name in names]}

    def located(self) -> tuple[Any, dict[str, Any]]:
        """Name and options for ``load_data`` on this machine; or the arrays that a user has given.

        Raises:
            DataError: if these were not given to this process.
        """
        if self.name == GIVEN:
            keys = self.given_keys
            return ([given(key) for key in keys] if len(keys) > 1 else given(keys[0])), self.options
        if self.where is None:
            return self.name, self.options
        if names := own_names(self.name):
            return ",".join(_named(name, os.path.join(self.where, _path(name))) for name in names), self.options
        return self.name, {"root": self.where} | self.options

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """Training and test set of a seed.

        Raises:
            DataError: if the data cannot be loaded, or their files are not those of the fingerprint.
        """
        self.check_unchanged()
        name, options = self.located()
        return load_data(name, self.n_train, self.n_test, seed, **options)

    def check_unchanged(self) -> None:
        """Refuse files that are not those of the fingerprint.

        Raises:
            DataError: if they have changed.
        """
        if self.name == GIVEN or self.fingerprint is None:
            return
        if fingerprint(self._files()) != self.fingerprint:
            raise DataError(
                f"the files of {self.name!r} have changed since this was planned; put the old files back, or plan "
                "it again with the new ones"
            )

    def _files(self) -> list[Path]:
        if self.name == GIVEN:
            return []
        name, options = self.located()
        return data_files(name, options.get("root"))


def _path(name: str) -> str:
    """The file of a name like ``mine.npz:images,labels``."""
    path, colon, _ = name.rpartition(":")
    return path if colon and path.endswith(".npz") else name


def _named(name: str, path: str) -> str:
    """A name with the same keys and another path; one spelling for the keys that are meant without any."""
    own = own_file(name)
    return own_name(path, own[1] if own else [])
