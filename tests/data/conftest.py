import pytest

from tests.data.file_writers import write_all


@pytest.fixture(scope="session")
def all_files(tmp_path_factory):
    """A data folder with a small file of every data set; not to be written to."""
    root = tmp_path_factory.mktemp("data")
    write_all(root)
    return root
