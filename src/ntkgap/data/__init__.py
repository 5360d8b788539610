"""What networks are fed: bundled digits, the sphere, images and tables from files, a user's own arrays."""

from ntkgap.data.dataset import Dataset
from ntkgap.data.files import fingerprint
from ntkgap.data.loading import DATASETS, data_files, load_data

__all__ = ["DATASETS", "Dataset", "data_files", "fingerprint", "load_data"]
