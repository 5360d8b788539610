"""What networks are fed: bundled digits, the sphere, images and tables from files, a user's own arrays."""

from ntkgap.data.dataset import Dataset
from ntkgap.data.files import data_folders, fingerprint
from ntkgap.data.loading import DATASETS, data_files, dataset_of, load_data
from ntkgap.data.span import in_span
from ntkgap.data.streams import Task, TaskStream, load_stream, score, stream_of
from ntkgap.data.toy import toy_angle, toy_function

__all__ = [
    "DATASETS",
    "Dataset",
    "Task",
    "TaskStream",
    "data_files",
    "data_folders",
    "dataset_of",
    "fingerprint",
    "in_span",
    "load_data",
    "load_stream",
    "score",
    "stream_of",
    "toy_angle",
    "toy_function",
]
