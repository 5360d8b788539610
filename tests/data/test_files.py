import gzip

import pytest

import ntkgap as ng
from ntkgap.data import data_files, fingerprint
from ntkgap.errors import DataError
from tests.data.file_writers import MNIST_NAMES, write_mnist


@pytest.fixture
def no_folders(monkeypatch, tmp_path):
    """Nothing is found but what a test writes."""
    monkeypatch.delenv("NTKGAP_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


def test_root_comes_before_the_variable_and_that_before_the_users_folder(no_folders, monkeypatch, tmp_path):
    folders = {}
    for seed, name in enumerate(("home/ntkgap", "variable", "root")):
        write_mnist(tmp_path / name / "mnist", seed=seed)
        folders[name] = tmp_path / name / "mnist"
    assert data_files("mnist")[0].parent == folders["home/ntkgap"]
    monkeypatch.setenv("NTKGAP_DATA", str(tmp_path / "variable"))
    assert data_files("mnist")[0].parent == folders["variable"]
    assert data_files("mnist", tmp_path / "root")[0].parent == folders["root"]
    assert [p.name for p in data_files("mnist")] == [f"{name}.gz" for name in MNIST_NAMES]
    monkeypatch.setenv("NTKGAP_DATA", str(tmp_path / "nothing here"))
    assert data_files("mnist")[0].parent == folders["home/ntkgap"]


def test_the_users_folder_without_the_xdg_variable(no_folders, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    write_mnist(tmp_path / ".local/share/ntkgap/mnist")
    assert len(data_files("mnist")) == 4


def test_a_given_root_is_the_only_folder(no_folders, monkeypatch, tmp_path):
    write_mnist(tmp_path / "variable/mnist")
    monkeypatch.setenv("NTKGAP_DATA", str(tmp_path / "variable"))
    with pytest.raises(DataError, match=r"'mnist' are not in .*elsewhere \(there is no such folder\)"):
        data_files("mnist", tmp_path / "elsewhere")


def test_a_missing_file_says_what_where_and_how(no_folders, tmp_path):
    with pytest.raises(DataError) as found:
        ng.load_data("mnist")
    message = str(found.value)
    for words in (str(tmp_path / "home/ntkgap"), "train-images-idx3-ubyte", "mnist/", "$NTKGAP_DATA", "https://"):
        assert words in message


def test_files_that_are_there_in_part_are_named(no_folders, tmp_path):
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"has some of them but not mnist/t10k-labels-idx1-ubyte;"):
        ng.load_data("mnist", root=tmp_path)


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_plain_and_packed_files_in_either_folder(no_folders, tmp_path, folder, suffix):
    write_mnist(tmp_path / folder, suffix=suffix)
    assert ng.load_data("mnist", 10, 10, root=str(tmp_path))[0].x.shape == (10, 1, 28, 28)


def test_bundled_data_need_no_files(tmp_path):
    assert data_files("digits") == []
    assert data_files("mine.npz")[0].is_absolute()


def test_an_unknown_home_is_a_folder_that_is_not_there():
    with pytest.raises(DataError, match=r"~nobody-of-this-name.*there is no such folder"):
        ng.load_data("mnist", root="~nobody-of-this-name/data")


@pytest.mark.parametrize("root", [3, ""])
def test_a_root_that_is_no_path_is_refused(root):
    with pytest.raises(DataError, match=r"root must be the path of a folder with data, got"):
        ng.load_data("mnist", root=root)


def test_a_fingerprint_knows_the_content_of_every_file(tmp_path):
    write_mnist(tmp_path / "mnist")
    files = data_files("mnist", tmp_path)
    before = fingerprint(files)
    assert fingerprint(files) == before
    files[3].write_bytes(gzip.compress(gzip.decompress(files[3].read_bytes())[:-1] + b"\x01"))
    assert fingerprint(files) != before
    with pytest.raises(DataError, match=r"cannot be read"):
        fingerprint([tmp_path / "missing"])
