import json
import math

import pytest

from ntkgap.sweep.files import number, read_json, write_json


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
