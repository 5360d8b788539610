"""Small files in the formats of the real ones, written byte by byte after the formats' descriptions."""

import gzip
import struct

import numpy as np

from ntkgap.data.uci import UCI_TABLES

MNIST_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
SHUTTLE_NAMES = ("Rad Flow", "Fpv Close", "Fpv Open", "High", "Bypass", "Bpv Close", "Bpv Open")


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def labels_of_all_classes(n):
    return (np.arange(n) % 10).astype(np.uint8)


def random_pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)


def write_mnist(folder, n_train=80, n_test=60, suffix=".gz", seed=0):
    """Four IDX files; returns what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = []
    for n in (n_train, n_test):
        arrays += [random_pixels(seed + n, n, 28, 28), labels_of_all_classes(n)]
    for name, array in zip(MNIST_NAMES, arrays, strict=True):
        content = idx_bytes(array)
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix == ".gz" else content)
    return arrays


def cifar_arrays(n_train=80, n_test=60):
    """Images [n, 3, 32, 32] and labels of five training batches together, then of the test batch."""
    return (
        random_pixels(1, n_train, 3, 32, 32),
        labels_of_all_classes(n_train),
        random_pixels(2, n_test, 3, 32, 32),
        labels_of_all_classes(n_test),
    )


def cifar_batches(arrays):
    x_train, y_train, x_test, y_test = arrays
    return [*zip(np.split(x_train, 5), np.split(y_train, 5), strict=True), (x_test, y_test)]


def write_cifar_binary(folder, arrays):
    folder.mkdir(parents=True)
    for name, (x, y) in zip(BATCHES, cifar_batches(arrays), strict=True):
        records = b"".join(bytes([label]) + image.tobytes() for image, label in zip(x, y, strict=True))
        (folder / f"{name}.bin").write_bytes(records)


def write_cifar_pickles(folder, arrays):
    folder.mkdir(parents=True)
    for name, (x, y) in zip(BATCHES, cifar_batches(arrays), strict=True):
        (folder / name).write_bytes(python2_batch(x.reshape(len(x), -1), y))


def write_cifar_npz(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    x_train, y_train, x_test, y_test = arrays
    last = [x.transpose(0, 2, 3, 1) for x in (x_train, x_test)]
    np.savez(path, x_train=last[0], y_train=y_train, x_test=last[1], y_test=y_test)


def python2_batch(rows, labels):
    """A batch as Python 2 pickled it (protocol 2, byte strings, NumPy's old module names), opcode by opcode."""

    def text(value):
        return b"T" + struct.pack("<I", len(value)) + value

    def integer(value):
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n" + text(b"u1") + integer(0) + integer(1) + b"\x87R"
    dtype += b"(" + integer(3) + text(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integer(0) + b"\x85" + text(b"b") + b"\x87R"
    )
    shape = integer(rows.shape[0]) + integer(rows.shape[1]) + b"\x86"
    array += b"(" + integer(1) + shape + dtype + b"\x89" + text(rows.tobytes()) + b"tb"
    numbers = b"](" + b"".join(integer(int(label)) for label in labels) + b"e"
    name = text(b"batch_label") + text(b"a batch")
    return b"\x80\x02}(" + name + text(b"labels") + numbers + text(b"data") + array + b"u."


def table_values(name):
    """Columns on different scales; the last is the target."""
    rows, columns = UCI_TABLES[name].shape
    rng = np.random.default_rng(columns)
    return rng.normal(size=(rows, columns)) * 10.0 ** np.arange(-1, columns - 1) % 1000 + 50


def write_table(root, name):
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    values = table_values(name)
    np.savetxt(folder / "data.txt", values, fmt="%.17g")
    return values


def write_mushroom(folder, n=120):
    """Attribute j of example i takes the letter number i mod (j + 1), so that column 1 is constant."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwx"
    lines = [",".join(["ep"[i % 2], *(letters[i % (j + 1)] for j in range(21)), "?"]) for i in range(n)]
    (folder / "mushroom.data.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))


def shuttle_lines(n, seed=0):
    features = np.random.default_rng(seed).integers(-50, 100, size=(n, 9))
    return [",".join([*map(str, row), SHUTTLE_NAMES[i % 7]]) for i, row in enumerate(features)]


def write_shuttle(folder, lines=None):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, suffix in enumerate(("trn", "tst")):
        text = "\n".join(shuttle_lines(70, seed) if lines is None else lines) + "\n"
        (folder / f"shuttle.{suffix}.gz").write_bytes(gzip.compress(text.encode()))


def write_all(root):
    write_mnist(root / "mnist")
    write_mnist(root / "fashion_mnist", seed=5)
    write_cifar_npz(root / "cifar10/cifar10_12k.npz", cifar_arrays())
    for name in UCI_TABLES:
        write_table(root, name)
    write_mushroom(root / "bandits")
    write_shuttle(root / "bandits")
