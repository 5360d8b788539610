import copy
import inspect

import pytest

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.studies.presets import REPLACED
from ntkgap.studies.spec import DataSpec
from tests.studies.test_variations import TINY

HEAD = "the configuration does not describe the study 'optimization': "


def message(change):
    configuration = copy.deepcopy(TINY)
    change(configuration["problems"][0], configuration)
    with pytest.raises(StudyError) as error:
        ng.OptimizationStudy.build(configuration)
    return str(error.value)


def test_problems_go_by_their_names():
    assert message(lambda p, _: p.update(widths=[8, 0])) == (
        f"{HEAD}'tiny', widths.1: Input should be greater than or equal to 1, got 0"
    )
    assert message(lambda p, _: p.pop("natural_gradient")) == f"{HEAD}'tiny', natural_gradient: Field required"
    assert "problems.0.name: Input should be a valid string, got 3" in message(lambda p, _: p.update(name=3))
    assert "seeds.1: " in message(lambda _, c: c.update(seeds=[0, -1]))
    assert "problems: Input should be " in message(lambda _, c: c.update(problems=3))
    assert "problems.1: Input should be " in message(lambda _, c: c["problems"].append(3))


def test_the_validators_own_words_are_left_out():
    text = message(lambda p, _: p["variations"]["axes"].update({"model.alpha": [1]}))
    assert text == f"{HEAD}'tiny': variations: model.alpha needs a value besides the problem's own, 1.0"
    for axis, values in (("model.pooling", ["flatten"]), ("data.options", [1])):
        text = message(lambda p, _, a=axis, v=values: p["variations"]["axes"].update({a: v}))
        assert text.startswith(f"{HEAD}'tiny': ")
        assert "Value error" not in text


def test_a_value_that_is_none_of_several_kinds_is_one_fault():
    text = message(lambda p, _: p["variations"]["axes"].update({"model.alpha": [[2]]}))
    assert text.startswith(f"{HEAD}'tiny', variations.axes.model.alpha.0: Input should be a valid boolean or ")
    assert text.count("Input should") == text.count("got [2]") == 1


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: ng.ContinualStudy(seeds=range(6)),
            r"ContinualStudy: seeds: .*got range\(0, 6\); write list\(range",
        ),
        (
            lambda: ng.ContinualStudy("quick"),
            "takes its settings by name, got 'quick'; they are description=, seeds=",
        ),
        (lambda: ng.OptimizationStudy(sedes=[1]), "sedes: there is no such key; did you mean 'seeds'"),
        (lambda: tiny(modle={}), "'tiny', modle: there is no such key; did you mean 'model'"),
        (
            lambda: tiny(natural_gradient={"step": 2}),
            "natural_gradient.step: there is no such key; did you mean 'steps'",
        ),
        (lambda: tiny(other=1), "'tiny', other: there is no such key; the keys are name, data, model, widths"),
        (
            lambda: DataSpec(name="x", n_train=0),
            "DataSpec: n_train: Input should be greater than or equal to 1, got 0",
        ),
        (
            lambda: ng.OptimizationStudy.preset("quick", foo=3),
            "takes no foo=; it takes model, data, widths, seeds",
        ),
        (lambda: ng.OptimizationStudy.preset("quick", width=3), "takes no width=; did you mean 'widths'"),
    ],
)
def test_what_is_made_by_hand_tells_its_faults(make, told):
    with pytest.raises(StudyError, match=told) as error:
        make()
    assert "\n" not in str(error.value)


def tiny(**changes):
    problem = {**copy.deepcopy(TINY["problems"][0]), **changes}
    return ng.OptimizationStudy(seeds=[0], problems=[problem])


def test_keywords_of_preset_are_those_it_names():
    parameters = [
        p.name
        for p in inspect.signature(ng.studies.BaseStudy.preset).parameters.values()
        if p.kind == p.KEYWORD_ONLY
    ]
    assert set(parameters) == set(REPLACED)
