"""What networks are fed: bundled digits, synthetic data on the sphere, a user's own arrays."""

from ntkgap.data.dataset import Dataset
from ntkgap.data.loading import DATASETS, load_data

__all__ = ["DATASETS", "Dataset", "load_data"]
