"""Data that are larger than they look, damaged inside, or tables written by other programs."""

import contextlib
import gzip
import io
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch.utils.data import TensorDataset

import ntkgap as ng
from ntkgap.data.limits import check_bytes, max_bytes, size_text
from ntkgap.data.streams import load_stream
from ntkgap.errors import DataError
from tests.data.file_writers import write_mnist, write_shuttle


def pack(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array, shape=None):
    """The bytes of an array, with another shape in the header."""
    file = io.BytesIO()
    np.save(file, array)
    content = file.getvalue()
    if shape is not None:
        header = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        content = content[:8] + struct.pack("<H", len(header)) + header.encode() + array.tobytes()
    return content


X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2


def test_the_writer_of_these_tests_writes_what_is_read(tmp_path):
    path = pack(tmp_path / "a.npz", x=npy(X, "(20, 3)"), y=npy(Y))
    train, test = ng.load_data(str(path), 10, 10, scaling="none")
    assert set(torch.cat([train.x, test.x])[:, 0].tolist()) == set(X[:, 0].astype(np.float32).tolist())


def test_the_size_of_an_archive_is_said_before_it_is_unpacked(tmp_path, monkeypatch):
    path = pack(tmp_path / "bomb.npz", x=npy(np.zeros((2000, 1000))), y=npy(Y))
    assert path.stat().st_size < 10**5
    monkeypatch.setenv("NTKGAP_MAX_BYTES", "1000000")
    with pytest.raises(DataError, match=r"the arrays in .*bomb.npz take 16 MB, more than the 1 MB.*NTKGAP_MAX_B"):
        ng.load_data(str(path), 2, 2)
    monkeypatch.setenv("NTKGAP_MAX_BYTES", "20000000")
    with pytest.raises(DataError, match="x has 2000 examples but y has 20"):
        ng.load_data(str(path), 2, 2)


@pytest.mark.parametrize("shape", ["(1000000000000000, 3)", "(10000000000000000000000000000000, 3)", "(-1, 3)"])
def test_a_header_may_not_claim_more_than_there_is(tmp_path, shape):
    path = pack(tmp_path / "liar.npz", x=npy(X, shape), y=npy(Y))
    with pytest.raises(DataError, match=r"header of x.npy claims shape \(-?10*, 3\) of float64.* holds 608 bytes"):
        ng.load_data(str(path), 2, 2)


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_archives_damaged_inside(tmp_path, compression):
    path = pack(tmp_path / "mine.npz", compression, x=npy(X), y=npy(Y))
    assert len(ng.load_data(str(path), 10, 10)[0]) == 10
    content = path.read_bytes()
    for place in range(30, 500, 7):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):  # some bytes stand for nothing; no other error is right
            ng.load_data(str(path), 10, 10)


@pytest.mark.parametrize(
    "header", ["{'descr': '<f8'", "(" * 5000, "'''", "{'descr': '<f8', 'shape': (1,)}", "\x00"]
)
def test_headers_that_are_no_python(tmp_path, header):
    content = npy(X)[:8] + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + X.tobytes()
    with pytest.raises(DataError, match=r"bad.npz cannot be read as \.npz"):
        ng.load_data(str(pack(tmp_path / "bad.npz", x=content, y=npy(Y))), 2, 2)


def test_python_objects_are_not_read(tmp_path):
    np.savez(tmp_path / "o.npz", x=np.array([{}, []], dtype=object), y=[0, 1])
    with pytest.raises(DataError, match=r"x.npy holds Python objects"):
        ng.load_data(str(tmp_path / "o.npz"), 1, 1)


def test_gzipped_files_that_unpack_to_too_much(tmp_path, monkeypatch):
    write_mnist(tmp_path / "mnist")
    file = next((tmp_path / "mnist").glob("train-images*"))
    with gzip.open(file, "wb") as archive:
        archive.write(bytes(10**7))
    monkeypatch.setenv("NTKGAP_MAX_BYTES", "1000000")
    with pytest.raises(DataError, match=r"unpacked, take at least 1 MB, more than the 1 MB"):
        ng.load_data("mnist", 10, 10, root=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"), [("many", "whole number"), ("-1", "whole number"), ("1e9", "whole nu")]
)
def test_a_limit_that_is_no_number(monkeypatch, text, message):
    monkeypatch.setenv("NTKGAP_MAX_BYTES", text)
    with pytest.raises(DataError, match=message):
        max_bytes()


def test_sizes_for_people():
    sizes = (0, 999, 1000, 1_234_567, 4 * 10**9, 10**14, 10**30, 10**400)
    texts = ["0 bytes", "999 bytes", "1 kB", "1.23 MB", "4 GB", "1e+05 GB", "10^21 GB", "10^391 GB"]
    assert [size_text(n) for n in sizes] == texts
    check_bytes("things", 4 * 10**9)
    with pytest.raises(DataError, match="things take 4 GB, more than the 4 GB"):
        check_bytes("things", 4 * 10**9 + 1)


@pytest.mark.parametrize("n", [10**30, 10**400, 10**10])
@pytest.mark.parametrize("name", ["sphere", "toy", "wheel"])
def test_synthetic_data_of_any_size_are_refused_at_once(name, n):
    for sizes in ((n, 10), (10, n)):
        with pytest.raises(DataError, match=r"examples take .*GB, more than"):
            ng.load_data(name, *sizes)


def test_dimensions_and_tasks_of_any_size(monkeypatch):
    with pytest.raises(DataError, match="more than the 4 GB"):
        ng.load_data("sphere", 10, 10, dim=10**30)
    with pytest.raises(DataError, match="these tasks take"):
        load_stream("teachers", n_train=10**8, n_test=10, tasks=100)
    for kind in ("rotated", "permuted", "split", "teachers"):
        with pytest.raises(DataError, match="must be an integer from"):
            load_stream(kind, n_train=100, tasks=10**400)


TABLE = pd.DataFrame({"a": X[:, 0], "b": X[:, 1].round(3), "kind": Y})


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return str(path)


def test_tables_of_other_programs_are_the_same_table(tmp_path):
    plain = write(tmp_path / "a.csv", TABLE.to_csv(index=False))
    expected = ng.load_data(plain, 10, 10, target="kind")
    others = [
        write(tmp_path / "bom.csv", TABLE.to_csv(index=False), "utf-8-sig"),
        write(tmp_path / "semicolons.csv", TABLE.to_csv(index=False, sep=";")),
        write(tmp_path / "tabs.csv", TABLE.to_csv(index=False, sep="\t")),
        write(tmp_path / "decimal_commas.csv", TABLE.to_csv(index=False, sep=";", decimal=",")),
        write(tmp_path / "crlf.csv", TABLE.to_csv(index=False, lineterminator="\r\n")),
    ]
    for other in others:
        for one, two in zip(ng.load_data(other, 10, 10, target="kind"), expected, strict=True):
            torch.testing.assert_close(one.x, two.x)
            assert torch.equal(one.y, two.y)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,kind\n1,0\nx,1\n2,0\n", r"'a' holds numbers, but text in 1 of 3 rows \(the first in row 1: 'x'\)"),
        (
            "a,kind\n1,0\n2,1\n3,0\n4,?\n",
            r"'kind' holds numbers, but text in 1 of 4 rows \(the first in row 3: '\?'",
        ),
        ("a,kind\nu,0\nv,1\n", "a hold no numbers"),
        ("a,kind\n", "has columns, but no row"),
        ("a,kind\n1,0\n2,1,5\n", "cannot be read as a table"),
        ("a,kind\n1,0,7\n2,1,5\n", "cannot be read as a table"),
        ("a,kind\n1,0\n2\n", "'kind' lacks 1 of 2 values"),
        ("", "cannot be read as a table"),
        ('a,kind\n"1,0\n', "cannot be read as a table"),
        ("a,kind\n1,0\n1,1\n", "all 2 inputs x are the same"),
        ("a,kind\n1,0\n2,0\n", "all 2 labels are the same"),
        ("a,kind\n1,0\n2j,1\n", "a hold no|'a' holds numbers, but text"),
    ],
)
def test_tables_that_are_none(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        ng.load_data(write(tmp_path / "t.csv", text), 1, 1, target="kind")


def test_tables_in_other_encodings(tmp_path):
    latin = write(tmp_path / "latin.csv", "größe,kind\n1,0\n2,1\n", "latin-1")
    with pytest.raises(DataError, match=r"latin.csv is no text in UTF-8 \(byte 2\); save it"):
        ng.load_data(latin, 1, 1, target="kind")
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        with pytest.raises(DataError, match="UTF-8"):
            ng.load_data(write(tmp_path / "wide.csv", "a,kind\n1,0\n2,1\n", encoding), 1, 1, target="kind")


def test_columns_of_one_name_and_of_complex_numbers():
    with pytest.raises(DataError, match="several columns called a; give each"):
        ng.load_data(pd.DataFrame([[1.0, 2.0, 0], [2, 3, 1]], columns=["a", "a", "y"]), 1, 1, target="y")
    with pytest.raises(DataError, match="a hold no numbers"):
        ng.load_data(pd.DataFrame({"a": [1j, 2.0], "y": [0, 1]}), 1, 1, target="y")


def masked():
    return np.ma.masked_array(np.eye(4), mask=np.eye(4, dtype=bool))


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.array([[1, "a"], [2, 3]] * 2, dtype=object), "x holds object, which are no real numbers"),
        (scipy.sparse.eye(4, format="csr"), r"x is sparse, a csr_matrix; pass x.toarray\(\)"),
        (torch.eye(4).to_sparse(), r"x is a tensor of layout sparse_coo; pass x.to_dense\(\)"),
        (torch.eye(4, device="meta"), "x is a tensor on the meta device, which holds no numbers"),
        (masked(), "x has masked entries"),
        (np.eye(4) * 1j, "x holds complex128, which are no real numbers"),
        (np.eye(4).astype("datetime64[s]"), r"x holds datetime64\[s\], which are no real numbers"),
        (np.zeros(4, dtype=[("a", "f8")]), "which are no real numbers"),
        (1.7e300 * np.eye(4), r"values up to 1.7e\+300, whose squares are no numbers"),
        (1e-200 * np.eye(4), "values up to 1e-200, whose squares are no numbers"),
    ],
)
def test_arrays_that_are_none(x, words):
    with pytest.raises(DataError, match=words):
        ng.load_data((x, np.array([0, 1, 0, 1])), 2, 2)


def test_arrays_of_any_order_of_bytes_and_precision():
    expected = ng.load_data((X, Y), 10, 10)
    for x, y in ((X.astype(np.longdouble), Y), (X.astype(">f8"), Y.astype(">i2")), (np.asfortranarray(X), Y)):
        for one, two in zip(ng.load_data((x, y), 10, 10), expected, strict=True):
            assert torch.equal(one.x, two.x)
            assert torch.equal(one.y, two.y)
    read_only = X.copy()
    read_only.setflags(write=False)
    assert torch.equal(ng.load_data((read_only, Y), 10, 10)[0].x, expected[0].x)
    wide = ng.Dataset(X.astype(np.longdouble), Y.astype(">i8"), n_classes=2)
    assert torch.equal(wide.x, torch.as_tensor(X).float())


TIMES = 1.7e9 + np.linspace(0, 60, 20)[:, None]


def test_times_keep_their_differences_in_every_way_to_give_them(tmp_path):
    frame = pd.DataFrame({"time": TIMES[:, 0], "y": Y})
    frame.to_csv(tmp_path / "t.csv", index=False)
    np.savez(tmp_path / "t.npz", x=TIMES, y=Y)
    ways = [
        ((TIMES, Y), {}),
        (TensorDataset(torch.as_tensor(TIMES), torch.as_tensor(Y)), {}),
        (frame, {"target": "y"}),
        (str(tmp_path / "t.csv"), {"target": "y"}),
        (str(tmp_path / "t.npz"), {}),
    ]
    for way, options in ways:
        train, test = ng.load_data(way, 10, 10, **options)
        assert len(train.x.unique()) == len(test.x.unique()) == 10
        with pytest.raises(DataError, match=r"input 0 differ, but by too little for float32 .*1700000"):
            ng.load_data(way, 10, 10, scaling="none", **options)


def test_numbers_of_a_shuttle_table_too_large_for_an_integer(tmp_path):
    lines = [",".join(["1" * 400, *["1"] * 8, "High"])] * 3
    write_shuttle(tmp_path / "bandits", lines)
    with pytest.raises(DataError, match=r"line 1: .*(large|long)"):
        ng.load_data("shuttle", 1, 1, root=tmp_path)
