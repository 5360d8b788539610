"""A network before and after its training, with its data."""

from torch import nn

from ntkgap.data import Dataset
from ntkgap.studies.diagnosis.quantities import in_float64, outputs_of


class Pair:
    """A network before and after training, in its own precision and in float64, and its outputs there.

    Args:
        network: at the start.
        trained: at the end.
        train_data: training set.
        test_data: test set.
    """

    def __init__(self, network: nn.Module, trained: nn.Module, train_data: Dataset, test_data: Dataset) -> None:
        self.network, self.trained, self.train, self.test = network, trained, train_data, test_data
        self.before, self.after = in_float64(network), in_float64(trained)
        self.x, self.x_test = train_data.x.double(), test_data.x.double()
        self.y = train_data.y.double()
        self.start, self.start_test = outputs_of(self.before, self.x), outputs_of(self.before, self.x_test)
        self.end, self.end_test = outputs_of(self.after, self.x), outputs_of(self.after, self.x_test)
