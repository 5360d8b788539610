"""What networks are fed: bundled digits, the sphere, images and tables from files, a user's own arrays."""

from ntkgap.data.dataset import Dataset
from ntkgap.data.files import data_folders, fingerprint
from ntkgap.data.loading import DATASETS, data_files, load_data

__all__ = ["DATASETS", "Dataset", "data_files", "data_folders", "fingerprint", "load_data"]
