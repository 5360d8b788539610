"""A problem that a user may train in their own way: their functions travel to workers and are tried first."""

from abc import ABC

from pydantic import model_validator

from ntkgap.studies.problem import BaseProblem
from ntkgap.studies.train_spec import TrainSpec


class TrainedProblem(BaseProblem, ABC):
    """Networks of one family on one data set, over widths, trained as a user does.

    Attributes:
        train: how a user trains; as the preset says if not given.
    """

    train: TrainSpec | None = None

    @model_validator(mode="after")
    def _own_batches_fit(self) -> "TrainedProblem":
        if self.train is not None:
            self.train.check_batches(self.data.n_train)
        return self

    @property
    def own_code(self) -> dict[str | None, str]:
        """Of the network, and of the training."""
        return super().own_code | (self.train.own_code if self.train else {})

    def check(self) -> None:
        """As of any problem; of own training an update is tried.

        Raises:
            NtkgapError: saying what cannot be loaded, built or trained.
        """
        super().check()
        data = self.example(seed=0)
        if self.train is not None and (network := self.narrowest(data)) is not None:
            self.train.check(network, data)
