"""Whatever bytes a pickled batch is made of: the right data, or an error that says so; never a crash."""

import pickle
import struct

import numpy as np
import pytest

from ntkgap.data.cifar import read_cifar
from ntkgap.data.pickle_opcodes import UnreadablePickle
from ntkgap.data.pickled_batch import read_pickled_batch
from ntkgap.errors import DataError
from tests.data.file_writers import python2_batch, random_pixels

PIXELS = random_pixels(3, 3, 8)
LABELS = [6, 0, 9]
SHAPE = b"K\x03K\x08\x86"


def python3_batch(protocol, pixels=PIXELS, labels=LABELS, text=bytes):
    names = ["batch_label", "labels", "data", "filenames"]
    values = [b"a batch", labels, pixels, [b"a.png", b"b.png"]]
    keys = [name.encode() if text is bytes else name for name in names]
    return pickle.dumps(dict(zip(keys, values, strict=True)), protocol=protocol)


def as_published():
    """The batches of https://www.cs.toronto.edu/~kriz/cifar.html, written as cPickle of Python 2 did."""
    filenames = b"U\tfilenamesq\x16]q\x17(U\x05a.pngq\x18U\x05b.pngq\x19eu."
    array = (
        b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\tU\x01bq\n\x87q"
        b"\x0bRq\x0c(K\x01K\x03K\x08\x86q\rcnumpy\ndtype\nq\x0eU\x02u1q\x0fK\x00K\x01\x87q\x10Rq\x11(K\x03U\x01|q"
        b"\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b\x89T" + struct.pack("<I", PIXELS.size)
    )
    array += PIXELS.tobytes() + b"q\x14tq\x15b"
    labels = b"U\x06labelsq\x04]q\x05(" + b"".join(b"K" + bytes([label]) for label in LABELS) + b"e"
    return b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03" + labels + array + filenames


BATCHES = {
    "as published": as_published(),
    "Python 2": python2_batch(PIXELS, LABELS),
    **{f"protocol {protocol}": python3_batch(protocol) for protocol in range(2, 6)},
    "text for names": python3_batch(5, text=str),
    "columns first, 2": python3_batch(2, np.asfortranarray(PIXELS)),
    "columns first, 5": python3_batch(5, np.asfortranarray(PIXELS)),
    "a slice": python3_batch(5, np.repeat(PIXELS, 2, axis=1)[:, ::2]),
    "labels as bytes": python3_batch(4, labels=np.array(LABELS, dtype=np.uint8)),
    "a label of no bytes": pickle.dumps({b"data": PIXELS, b"labels": LABELS, b"batch_label": b""}, protocol=2),
    "NumPy 1": python3_batch(2).replace(b"numpy._core.", b"numpy.core."),
}


@pytest.mark.parametrize("content", BATCHES.values(), ids=BATCHES)
def test_batches_of_every_writer_are_read(content):
    batch = read_pickled_batch(content)
    assert batch[b"data"].dtype == np.uint8
    np.testing.assert_array_equal(batch[b"data"], PIXELS)
    assert list(batch[b"labels"]) == LABELS
    # The usual unpickler agrees on all that it reads itself.
    if b"numpy.core" not in content:
        known = pickle.loads(content, encoding="bytes")
        np.testing.assert_array_equal(batch[b"data"], known[b"data" if b"data" in known else "data"])


def dtype_with(spec, state):
    """A batch as published whose array is of another dtype, by name and by state."""
    content = as_published()
    content = content.replace(b"U\x02u1", b"U" + bytes([len(spec)]) + spec)
    return content.replace(b"(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", state)


def dtype_state(version=3, order=b"U\x01|", subarray=b"N", names=b"N", fields=b"N", size=-1, align=-1, flags=0):
    numbers = b"".join(b"J" + struct.pack("<i", value) for value in (size, align, flags))
    return b"(K" + bytes([version]) + order + b"q\x12" + subarray + names + fields + numbers + b"t"


OBJECT_POINTERS = {
    # An object field without the flag that says so: NumPy then takes eight bytes of the file for a pointer.
    "objects without their flag": dtype_with(b"O8", dtype_state()).replace(SHAPE, b"K\x01K\x03\x86"),
    "objects with their flag": dtype_with(b"O8", dtype_state(flags=63)),
    "bytes with the flags of objects": dtype_with(b"u1", dtype_state(flags=63)),
    "bytes of another size": dtype_with(b"u1", dtype_state(size=8)),
    "a field of objects": dtype_with(
        b"V8",
        dtype_state(names=b"U\x01a\x85", fields=b"}U\x01acnumpy\ndtype\nU\x01O\x85RK\x00\x86s", size=8, align=1),
    ),
    "a subarray": dtype_with(b"u1", dtype_state(subarray=b"cnumpy\ndtype\nU\x01O\x85RK\x08\x85\x86")),
    "names": dtype_with(b"u1", dtype_state(names=b"U\x01a\x85")),
    "another byte order": dtype_with(b"u1", dtype_state(order=b"U\x01>")),
    "another version": dtype_with(b"u1", dtype_state(version=2)),
    "a state that is no tuple": dtype_with(b"u1", b"]q\x12"),
}


def test_the_replacements_in_these_files_took_place():
    assert as_published() == dtype_with(b"u1", b"(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t")
    assert read_pickled_batch(dtype_with(b"u1", dtype_state()))[b"labels"] == LABELS
    assert all(content != as_published() for content in OBJECT_POINTERS.values())


@pytest.mark.parametrize("content", OBJECT_POINTERS.values(), ids=OBJECT_POINTERS)
def test_no_dtype_but_unsigned_bytes_is_made(content):
    with pytest.raises(UnreadablePickle, match="dtype"):
        read_pickled_batch(content)


class Reduced:
    def __reduce__(self):
        return print, ("!",)


LATIN1 = b"X\x06\x00\x00\x00latin1"
INSTRUCTIONS = {
    "a function": (pickle.dumps({b"data": Reduced()}), "it asks for 'builtins.print'"),
    "a function without a line's end": (b"\x80\x02cbuiltins\nprint", "truncated"),
    "a function whose name is a number": (b"\x80\x04K\x01K\x02\x93.", "TypeError"),
    "an attribute of a function": (b"\x80\x02c_codecs\nencode\n}U\x01aNsb.", "sets a state"),
    "a state of the mapping": (b"\x80\x02}}b.", "sets a state that no dict"),
    "a call of a class": (b"\x80\x02cnumpy\nndarray\nK\x00\x85R.", "it calls ndarray as no"),
    "a call of a number": (b"\x80\x02K\x00)R.", "it calls what is no function"),
    "an instance": (b"\x80\x02cnumpy\ndtype\n)\x81.", r"the instruction b'\\x81'"),
    "an extension": (b"\x80\x02\x82\x01.", r"the instruction b'\\x82'"),
    "a persistent object": (b"\x80\x02U\x01aQ.", "the instruction b'Q'"),
    "a tuple in tuples as a name": (b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.", "is a tuple"),
    "lists in lists": (b"\x80\x02" + b"](" * 200_000 + b"e" * 200_000 + b".", "it holds a list"),
    "a list in itself": (b"\x80\x02]q\x01h\x01a.", "it holds a list"),
    "a memo of 2^32 places": (b"\x80\x02}]r\xff\xff\xff\xff.", "it holds a list"),
    "a length of 2^64 bytes": (b"\x80\x04\x8e" + b"\xff" * 8 + b"a.", "truncated"),
    "a text encoded many times": (
        b"\x80\x02X\xa0\x0f\x00\x00" + b"a" * 4000 + LATIN1 + b"\x86q\x01" + b"c_codecs\nencode\nh\x01R" * 99,
        "encoded again and again",
    ),
    "a shape beyond the bytes": (
        as_published().replace(SHAPE, b"J\xff\xff\xff\x7fK\x08\x86"),
        "holds 24 bytes for",
    ),
    "a shape below the bytes": (as_published().replace(SHAPE, b"K\x02K\x08\x86"), "holds 24 bytes for"),
    "a negative shape": (as_published().replace(SHAPE, b"J\xfd\xff\xff\xffJ\xf8\xff\xff\xff\x86"), "shape"),
    "a shape of three axes": (as_published().replace(SHAPE, b"K\x03K\x04K\x02\x87"), "shape"),
    "a name that is no text": (b"\x80\x02}X\x03\x00\x00\x00\xed\xa0\x80Ns.", "UnicodeEncodeError"),
    "no value": (b"\x80\x02.", "more values than they have put"),
    "a mark alone": (b"\x80\x02(.", "more values than they have put"),
    "no mark": (b"\x80\x02]K\x01e.", "a mark that is not there"),
    "a name without a value": (b"\x80\x02}(K\x01u.", "ValueError"),
    "a value that was not kept": (b"\x80\x02h\x01.", "KeyError"),
    "a number kept in a mapping's place": (b"\x80\x02K\x01K\x02K\x03s.", "it fills a int as if it were a dict"),
}


@pytest.mark.parametrize(("content", "words"), INSTRUCTIONS.values(), ids=INSTRUCTIONS)
def test_other_instructions_are_refused(content, words):
    with pytest.raises(UnreadablePickle, match=words):
        read_pickled_batch(content)


@pytest.mark.parametrize("content", BATCHES.values(), ids=BATCHES)
def test_every_truncation_is_refused(content):
    for length in range(len(content)):
        with pytest.raises(UnreadablePickle):
            read_pickled_batch(content[:length])


@pytest.mark.parametrize("content", BATCHES.values(), ids=BATCHES)
def test_every_missing_pair_of_bytes_is_refused_or_does_not_matter(content):
    for start in range(len(content) - 1):
        check(content[:start] + content[start + 2 :])


@pytest.mark.parametrize("content", BATCHES.values(), ids=BATCHES)
def test_changed_bytes_are_refused_or_change_what_they_stand_for(content):
    rng = np.random.default_rng(0)
    survived = 0
    for _ in range(4000):
        changed = bytearray(content)
        for position in rng.integers(len(content), size=rng.integers(1, 3)):
            changed[position] = rng.integers(256)
        survived += check(bytes(changed), 2)
    assert 0 < survived < 3500  # the pixels themselves may be changed; most else may not


def check(content, changes=0):
    """Whether it is read; then its data are bytes, and at most so many differ from the right ones."""
    try:
        batch = read_pickled_batch(content)
    except UnreadablePickle:
        return False
    data = batch.get(b"data")
    if isinstance(data, np.ndarray) and data.shape == PIXELS.shape:
        assert data.dtype == np.uint8
        # A bit that no other confirms: whether the rows or the columns come first.
        orders = ((a, b) for a in "CF" for b in "CF")
        assert min((data.ravel(order=a) != PIXELS.ravel(order=b)).sum() for a, b in orders) <= changes
    return True


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_error_names_the_file(tmp_path, suffix):
    files = [tmp_path / f"data_batch_{i}{suffix}" for i in range(1, 7)]
    for file in files:
        file.write_bytes(OBJECT_POINTERS["objects without their flag"])
    with pytest.raises(DataError, match=r"data_batch_1.* is damaged"):
        read_cifar(files)
