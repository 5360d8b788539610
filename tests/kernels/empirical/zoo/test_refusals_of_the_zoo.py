"""What has no kernel is refused by one clear sentence or two, whatever it is asked of."""

import re

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import NtkgapError
from tests.kernels.empirical.zoo.refused import REFUSALS
from tests.reference.trees import call

LONGEST = 400  # characters


def asked(what, model, inputs, options):
    if what == "twin":
        return call(ng.linearize(model), inputs)
    return {"kernel": ng.empirical_ntk, "operator": ng.NTKOperator}[what](model, inputs, **options)


@pytest.mark.parametrize("what", ["kernel", "operator", "twin"])
@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_a_refusal_names_the_thing_and_the_remedy(case, what):
    if what == "twin" and not case.twin:
        pytest.skip("nothing that a twin must notice")
    torch.manual_seed(0)
    with pytest.raises(NtkgapError) as caught:
        asked(what, case.build(), case.inputs(), case.options)
    message = str(caught.value)
    for pattern in case.says:
        assert re.search(pattern, message, re.IGNORECASE), f"{message!r} says nothing of {pattern!r}"
    assert len(message) <= LONGEST
    assert "\n" not in message.strip()


@pytest.mark.parametrize("case", [case for case in REFUSALS if case.name in ("different lengths", "unknown key")])
def test_the_second_inputs_are_refused_by_their_own_name(case):
    good = (
        {"x": torch.randn(3, 3), "y": torch.randn(3, 4)}
        if "x" in case.inputs()
        else {"input_ids": torch.ones(3, 5).long()}
    )
    with pytest.raises(NtkgapError) as caught:
        ng.empirical_ntk(case.build(), good, case.inputs())
    assert "x2" in str(caught.value)


def test_two_sets_of_inputs_are_of_one_kind():
    from tests.kernels.empirical.zoo.refused import Documents, ids

    model = Documents()
    with pytest.raises(NtkgapError, match="x2"):
        ng.empirical_ntk(model, {"input_ids": ids()}, {"attention_mask": ids()})
