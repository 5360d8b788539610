"""The parts every study is specified with."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ntkgap.data import Dataset, load_data

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
        fingerprint: hash of a data file's content, filled in when cells are made: other content under
            the same name is another cell.
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
        """The same data, named by absolute path and content if they come from a file."""
        path = Path(self.name)
        if path.suffix != ".npz" or not path.is_file():
            return self
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return self.model_copy(update={"name": str(path.absolute()), "fingerprint": digest})

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """Training and test set of a seed."""
        return load_data(self.name, self.n_train, self.n_test, seed, **self.options)
