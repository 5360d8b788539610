"""The parts every study is specified with."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ntkgap.data import Dataset, data_files, data_folders, fingerprint, load_data
from ntkgap.data.arrays import own_file
from ntkgap.errors import DataError
from ntkgap.studies.given_data import GIVEN, given

Width = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0)]


class Spec(BaseModel):
    """A part of a study's specification: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSpec(Spec):
    """Which data, and how many.

    Attributes:
        name: as for ``load_data``.
        n_train: number of training examples.
        n_test: number of test examples.
        options: what the data set takes besides.
        fingerprint: hash of the data files' contents, filled in when cells are made: other content under
            the same name is another cell, and is not loaded as this one.
    """

    name: str
    n_train: int = Field(ge=1)
    n_test: int = Field(default=64, ge=1)
    options: dict[str, Any] = {}
    fingerprint: str | None = None

    @field_validator("options")
    @classmethod
    def _no_sizes(cls, options: dict[str, Any]) -> dict[str, Any]:
        if taken := {"name", "path", "n_train", "n_test", "seed"} & set(options):
            raise ValueError(f"options cannot hold {', '.join(sorted(taken))}; that has a key of its own")
        return options

    def pinned(self) -> "DataSpec":
        """The same data, named by absolute path and content if they come from files.

        Raises:
            DataError: if a file is missing.
        """
        files = self._files()
        if not files:  # they come with the library, or the user gave them as arrays
            return self
        update: dict[str, Any] = {"fingerprint": fingerprint(files)}
        if own := own_file(self.name):
            update["name"] = self.name.replace(str(own[0]), str(files[0]), 1)
        if self.options.get("root") is not None:
            update["options"] = self.options | {"root": str(data_folders(self.options["root"])[0])}
        return self.model_copy(update=update)

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """Training and test set of a seed.

        Raises:
            DataError: if the data cannot be loaded, or their files are not those of the fingerprint.
        """
        self.check_unchanged()
        return load_data(self.source, self.n_train, self.n_test, seed, **self.options)

    @property
    def source(self) -> Any:
        """What ``load_data`` is given: a name, or the user's own arrays.

        Raises:
            DataError: if these were not given to this process.
        """
        return given(self.fingerprint) if self.name == GIVEN else self.name

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
        return [] if self.name == GIVEN else data_files(self.name, self.options.get("root"))
