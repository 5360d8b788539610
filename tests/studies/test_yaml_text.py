"""Presets as anyone may write them: what is no preset is refused in one line, quickly, and by name."""

import time
from pathlib import Path

import pytest
import yaml

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.studies import STUDIES
from ntkgap.studies.yaml_text import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES, read_yaml

SMOKE = (Path(ng.__file__).parent / "studies/optimization/presets/smoke.yaml").read_text()


@pytest.mark.parametrize("study", STUDIES)
def test_presets_say_what_they_say_to_others(study):
    for file in (Path(ng.__file__).parent / "studies" / study / "presets").glob("*.yaml"):
        assert read_yaml(file.read_text()) == yaml.safe_load(file.read_text())


def test_numbers_are_decimal_and_everything_else_is_text():
    text = "[7, +7, -7, 0, 1.5, .5, 3., 1e-3, 2E5, -1.5e+2, "
    text += "010, 1:30, 0x1F, 0b1, 1_000, 2024-01-01, .inf, .nan, '64']"
    numbers = [7, 7, -7, 0, 1.5, 0.5, 3.0, 1e-3, 2e5, -150.0]
    texts = ["010", "1:30", "0x1F", "0b1", "1_000", "2024-01-01", ".inf", ".nan", "64"]
    found = read_yaml(text)
    assert found == numbers + texts
    assert [type(value) for value in found[:10]] == [type(value) for value in numbers]
    assert read_yaml("[yes, true, ~, null, no]") == [True, True, None, None, False]


def test_aliases_and_merges_are_read():
    assert read_yaml("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}") == {
        "a": {"x": 1},
        "b": {"x": 1},
        "c": {"x": 1, "y": 2},
    }


def laughs(levels):
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    return "\n".join([*lines, *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels))])


def merges(levels):
    lines = ["a0: &a0 {x: 1}"]
    return "\n".join([*lines, *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}], y{i}: 1}}" for i in range(1, levels))])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (laughs(10), f"line 5: it stands for more than {MAX_VALUES} values"),
        (merges(60), f"it stands for more than {MAX_VALUES} values"),
        ("a: &a [*a]", r"line 1: \*a stands for something that holds itself"),
        ("[" * 100_000, f"inside something more than {MAX_DEPTH} times"),
        ("- " * 90_000, f"inside something more than {MAX_DEPTH} times"),
        ("{a: " * 40_000, f"inside something more than {MAX_DEPTH} times"),
        ("a" * (MAX_CHARACTERS + 1), f"more than {MAX_CHARACTERS} characters"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands there twice"),
        ("? [1, 2]\n: 3", "line 1: a key is no text"),
        ("a: " + "9" * 5000, "it has a number that is none"),
        ("a: !!timestamp 2024-13-45", "line 1: .*timestamp"),
        ("a: !!python/object/apply:os.system [ls]", "line 1: .*python/object"),
        ("a: !!binary aGk=", "line 1: .*binary"),
        ("a: !!int x", "it has a number that is none"),
        ("a: [1, 2", "line 1: "),
        ("a: *b", "line 1: .*undefined alias"),
        ("a: \x07", "special characters"),
        ("a: 1\n---\nb: 2", "expected a single document|line 2"),
        ("\t- a", "line 1: "),
    ],
)
def test_what_is_no_preset_is_refused_in_a_line(text, words):
    start = time.perf_counter()
    with pytest.raises(StudyError, match=words) as caught:
        read_yaml(text)
    assert time.perf_counter() - start < 5
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def write(folder, old, new):
    assert old in SMOKE
    file = folder / "mine.yaml"
    file.write_text(SMOKE.replace(old, new, 1))
    return ng.OptimizationStudy.preset(str(file))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("widths: [16, 64, 256, 1024]", "widths: [true]", "widths.0: Input should be a valid integer, got True"),
        ("widths: [16, 64, 256, 1024]", 'widths: ["64"]', "widths.0: Input should be a valid integer, got '64'"),
        ("widths: [16, 64, 256, 1024]", "widths: [64.0]", "widths.0: Input should be a valid integer, got 64.0"),
        (
            "widths: [16, 64, 256, 1024]",
            "widths: [2024-01-01]",
            "a valid integer, got '2024-01-01'",
        ),
        ("widths: [16, 64, 256, 1024]", f"widths: [{10**30}]", "less than or equal to 1000000000"),
        ("seeds: [0, 1, 2]", "seeds: [true]", "seeds.0: Input should be a valid integer, got True"),
        ("seeds: [0, 1, 2]", f"seeds: [{10**30}]", "seeds.0: Input should be less than"),
        (
            "seeds: [0, 1, 2]",
            f"seeds: {list(range(15_000))}",
            "grid has 120000 cells, and at most 100000",
        ),
        ("steps: 30", "steps: true", "gradient_descent.steps: Input should be a valid integer, got True"),
        (
            "steps: 30",
            f"steps: {10**30}",
            "no whole number can be beyond 1000000000, .* 31 digits",
        ),
        ("depth: 2", "depth: 10000", "'MLP.*: model: depth must be at most 100, got 10000"),
        ("depth: 2", "depth: 2, alpha: yes", "model.alpha: Input should be a valid number, got True"),
        ("depth: 2", "depth: 2, antisymmetric: 1", "antisymmetric: Input should be a valid boolean, got 1"),
        ("depth: 2", "depth: 2, alpha: '1'", "model.alpha: Input should be a valid number, got '1'"),
        ("dim: 16", f"dim: {10**30}", "data.options: no whole number can be beyond 1000000000"),
    ],
)
def test_numbers_are_numbers_and_in_reach(tmp_path, old, new, words):
    with pytest.raises(StudyError, match=words):
        write(tmp_path, old, new)


def test_what_is_wrong_is_shown_in_part(tmp_path):
    with pytest.raises(StudyError) as caught:
        write(tmp_path, "depth: 2", f"depth: {'x' * 10_000}")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["seeds", "widths"])
def test_more_than_can_be_planned_is_refused_at_once(name):
    with pytest.raises(StudyError, match=r"at most 100000 cells|less than or equal to"):
        ng.OptimizationStudy.preset("smoke", **{name: 10**30})


def test_names_that_no_file_can_have():
    for name in ("a\0b.yaml", "x" * 5000 + ".yaml", "~nobody_here/a.yaml"):
        with pytest.raises(StudyError, match="no preset file at"):
            ng.OptimizationStudy.preset(name)
