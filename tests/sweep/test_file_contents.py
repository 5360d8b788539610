"""Stores that strangers, disks and editors have been at: a sentence names the file, whoever reads it."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ntkgap as ng
from ntkgap.errors import StoreError
from ntkgap.sweep import preview
from ntkgap.sweep.file_contents import fault_of_cell, fault_of_failure, fault_of_meta, fault_of_result
from ntkgap.sweep.files import read_json
from ntkgap.sweep.store import META
from tests.sweep.toy import ToyStudy

DEEP = "[" * 5000 + "]" * 5000
NESTED = '{"a": ' * 200 + "1" + "}" * 200


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "store"
    ng.run(ToyStudy(widths=(1, 4), seeds=(0,), diverges_at=4), path, workers=1, progress=False)
    return path


@pytest.fixture
def store(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "store")


def test_what_is_written_is_what_is_asked_for(finished):
    assert fault_of_meta(read_json(finished / META)) == ""
    files = sorted((finished / "workspace").glob("*/*.json"))
    assert len(files) == 4
    for file in files:
        value = read_json(file)
        is_result = file.name == "result.json"
        assert (fault_of_result(value) if is_result else fault_of_cell(value, ["width"], file.read_bytes())) == ""
    assert fault_of_failure({"message": "", "traceback": ""}) == ""


META_FAULTS = [
    ("axes", None, "'axes' must be a list of texts"),
    ("axes", [["width"]], "'axes' must be a list of texts"),
    ("axes", "width", "'axes' must be a list of texts"),
    ("configuration", [], "'configuration' must be a mapping"),
    ("configuration", "quick", "'configuration' must be a mapping"),
    ("configuration", {"a": [[]]}, ""),
    ("study", ["toy"], "'study' must be a text"),
    ("study", "\ud800", "'study' must be a text"),
    ("version", True, "'version' must be a whole number"),
    ("version", 10**400, "'version' must be a whole number"),
    ("version", 1.0, "'version' must be a whole number"),
    ("format", [1], "'format' must be a whole number"),
    ("looks", {"schedule": [[2, 1]], "seeds": [3, 1]}, ""),
    ("looks", [[2, 1]], "'looks' must be a mapping with a schedule"),
    ("looks", {"schedule": [[2, 1]]}, "'looks' must be a mapping with a schedule"),
    ("looks", {"schedule": [], "seeds": []}, "'looks' must be a mapping with a schedule"),
    ("looks", {"schedule": [2, 1], "seeds": [3, 1]}, "'looks' must be a mapping with a schedule"),
    ("looks", {"schedule": [[2, 2]], "seeds": [3, 1]}, "'looks' must be a mapping with a schedule"),
    ("looks", {"schedule": [[4, 1], [2, 1]], "seeds": [3, 1]}, "'looks' must be a mapping with a schedule"),
    ("looks", {"schedule": [[2, 1]], "seeds": [3, 3]}, "'looks' must be a mapping with a schedule"),
    ("looks", {"schedule": [[2, 1]], "seeds": ["0", "1"]}, "'looks' must be a mapping with a schedule"),
]


@pytest.mark.parametrize(("key", "value", "words"), META_FAULTS)
def test_descriptions_of_other_shapes(store, key, value, words):
    file = store / META
    file.write_text(json.dumps(read_json(file) | {key: value}))
    if not words:
        assert len(ng.Runs(store).to_pandas()) == 2
        return
    for read in (ng.Runs, lambda path: preview(ToyStudy(), path), lambda path: ng.run(ToyStudy(), path, 1)):
        with pytest.raises(StoreError, match=words) as caught:
            read(store)
        assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", DEEP, "9" * 5000, '{"format": ' + "9" * 5000 + "}", "\x00", NESTED]
)
@pytest.mark.parametrize("name", [META, "result.json", "signac_statepoint.json"])
def test_files_that_hold_something_else(store, name, text):
    file = next(store.rglob(name))
    file.write_text(text)
    with pytest.raises(StoreError, match="damaged") as caught:
        ng.Runs(store).to_pandas()
    assert str(file.parent) in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("scalars", [1], "'scalars' must be a mapping of names to numbers"),
        ("scalars", {"square": [1]}, "'scalars' must be a mapping of names to numbers"),
        ("scalars", {"square": "nan"}, "'scalars' must be a mapping of names to numbers"),
        ("scalars", {"square": 10**400}, "'scalars' must be a mapping of names to numbers"),
        ("curves", {"line": 1}, "'curves' must be a mapping of names to lists"),
        ("curves", {"line": [[1]]}, "'curves' must be a mapping of names to lists"),
        ("notes", "all well", "'notes' must be a list of texts"),
        ("notes", [1], "'notes' must be a list of texts"),
        ("diverged", "no", "'diverged' must be true or false"),
        ("seconds", None, "'seconds' must be a number"),
        ("seconds", "inf", "'seconds' must be a number"),
    ],
)
def test_results_of_other_shapes(store, key, value, words):
    file = next(store.rglob("result.json"))
    file.write_text(json.dumps(read_json(file) | {key: value}))
    runs = ng.Runs(store)
    for read in (runs.to_pandas, lambda: runs.cells[0].result() and runs.cells[1].result()):
        with pytest.raises(StoreError, match=words) as caught:
            read()
        assert str(file) in str(caught.value)


def test_a_damaged_configuration_of_a_known_cell_is_written_again(store):
    file = next(store.rglob("signac_statepoint.json"))
    before = file.read_text()
    for text in ("", DEEP, "[1]", '{"width": 3}'):
        file.write_text(text)
        with pytest.raises(StoreError, match="configuration of the cell"):
            ng.Runs(store)
        ng.run(ToyStudy(widths=(1, 4), seeds=(0,), diverges_at=4), store, workers=1, progress=False)
        assert json.loads(file.read_text()) == json.loads(before)


def test_a_workspace_that_is_none(store):
    shutil.rmtree(store / "workspace")
    (store / "workspace").write_text("")
    with pytest.raises(StoreError):
        ng.Runs(store)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["inf", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


TRICKY = st.recursive(
    st.integers() | (part := st.sampled_from(["\ud800", "ü", "\\", "{"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(part, inner, max_size=3),
    max_leaves=8,
)


@given(TRICKY, st.integers(0, 40), st.booleans(), st.sampled_from(["utf-8", "utf-16", "utf-32-be"]))
def test_what_a_text_shows_without_a_walk_is_what_the_walk_finds(value, depth, ensure_ascii, encoding):
    for _ in range(depth):
        value = [value]
    text = json.dumps({"a": value}, ensure_ascii=ensure_ascii).encode(encoding, "surrogatepass")
    walked = fault_of_cell(json.loads(text), [], b"\\")  # of this text nothing is known
    assert fault_of_cell(json.loads(text), [], text) == walked


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_any_file_is_read_or_named(finished, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "store"
    shutil.copytree(finished, path)
    file = data.draw(st.sampled_from(sorted(path.rglob("*.json"))))
    value = read_json(file)
    kind = data.draw(st.sampled_from(["value", "key", "cut"]))
    if kind == "value":
        value[data.draw(st.sampled_from(sorted(value)))] = data.draw(JSON)
        file.write_text(json.dumps(value))
    elif kind == "key":
        del value[data.draw(st.sampled_from(sorted(value)))]
        file.write_text(json.dumps(value))
    else:
        text = file.read_text()
        file.write_text(text[: data.draw(st.integers(0, len(text) - 1))])
    try:
        runs = ng.Runs(path)
        runs.counts(), runs.failures(), runs.to_pandas(), runs.curves("line")
    except StoreError as error:
        named = str(error)
        assert str(path) in named
        assert "\n" not in named
    finally:
        shutil.rmtree(path)
