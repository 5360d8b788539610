import gc
import json
import math
import threading
import time

import pytest

from ntkgap.sweep import files
from ntkgap.sweep.files import collector_paused, in_threads, number, read_json, write_json


def test_what_is_written_is_strict_json_and_comes_back(tmp_path):
    path = tmp_path / "value.json"
    value = {
        "a": [1, 2.5, float("inf"), -float("inf")],
        "b": {"c": float("nan"), "d": "text", "e": None, "f": True},
    }
    write_json(path, value)
    json.loads(path.read_text(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    back = read_json(path)
    assert [number(v) for v in back["a"]] == value["a"]
    assert math.isnan(number(back["b"]["c"]))
    assert back["b"]["d"] == "text"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {"unserializable": object()})
    assert read_json(path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_calls_that_wait_are_made_several_at_a_time_and_answer_in_order():
    at_once, most = set(), []

    def call(i):
        at_once.add(threading.current_thread())
        most.append(len(at_once))
        time.sleep(0.002)
        at_once.discard(threading.current_thread())
        return -i

    assert list(in_threads(call, range(950))) == [-i for i in range(950)]
    assert 1 < max(most) <= files.THREADS
    assert max(most[: files.TOGETHER]) == 1, "nothing was known of the first ones"


def test_calls_that_do_not_wait_are_made_in_this_thread(monkeypatch):
    monkeypatch.setattr(files, "WAITING", 10.0)
    assert set(in_threads(lambda _: threading.current_thread(), range(950))) == {threading.current_thread()}
    assert list(in_threads(str, [])) == []


def test_after_an_error_no_more_calls_begin(monkeypatch):
    monkeypatch.setattr(files, "WAITING", -1.0)
    made = []

    def call(i):
        made.append(i)
        time.sleep(0.001)
        if i == 250:
            raise OSError("the disk is full")
        return i

    with pytest.raises(OSError, match="the disk is full"):
        list(in_threads(call, range(9500)))
    assert len(made) < 4000


def test_the_collector_is_as_it_was():
    with collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), collector_paused():
        raise KeyError
    assert gc.isenabled()
