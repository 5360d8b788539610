"""What networks are fed: bundled digits, the sphere, images and tables from files, a user's own arrays."""

from ntkgap.data.dataset import Dataset
from ntkgap.data.files import data_folders, fingerprint
from ntkgap.data.loading import DATASETS, data_files, load_data
from ntkgap.data.toy import toy_angle, toy_function

__all__ = [
    "DATASETS",
    "Dataset",
    "data_files",
    "data_folders",
    "fingerprint",
    "load_data",
    "toy_angle",
    "toy_function",
]
