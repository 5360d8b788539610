"""What has no kernel is refused by one clear sentence or two, whatever it is asked of."""

import re

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import NtkgapError
from tests.kernels.empirical.zoo import refused, refused_calls
from tests.kernels.empirical.zoo.refused_calls import Documents, ids
from tests.reference.trees import call

LONGEST = 400  # characters
REFUSALS = refused.REFUSALS + refused_calls.REFUSALS


def own_error(model, inputs):
    """The kind of error by which the network itself refuses to be called so."""
    try:
        call(model, inputs)
    except Exception as error:
        return type(error)
    return NtkgapError


def asked(what, model, inputs, options):
    if what == "twin":
        return call(ng.linearize(model), inputs)
    return {"kernel": ng.empirical_ntk, "operator": ng.NTKOperator}[what](model, inputs, **options)


@pytest.mark.parametrize("what", ["kernel", "operator", "twin"])
@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_a_refusal_names_the_thing_and_the_remedy(case, what):
    if what == "twin" and not case.linearized:
        pytest.skip("nothing that a linearized model must notice")
    torch.manual_seed(0)
    kinds = (NtkgapError, own_error(case.build(), case.inputs())) if what == "twin" else NtkgapError
    with pytest.raises(kinds) as caught:
        asked(what, case.build(), case.inputs(), case.options)
    if not isinstance(caught.value, NtkgapError):
        return
    message = str(caught.value)
    for pattern in case.says:
        assert re.search(pattern, message, re.IGNORECASE), f"{message!r} says nothing of {pattern!r}"
    assert len(message) <= LONGEST
    assert "\n" not in message.strip()


def test_the_second_inputs_are_refused_by_their_own_name():
    good, unknown = {"input_ids": ids()}, {"input_ids": ids(), "token_type_ids": ids()}
    with pytest.raises(NtkgapError, match="x2"):
        ng.empirical_ntk(Documents(), good, unknown)
    with pytest.raises(NtkgapError, match="x2"):
        ng.empirical_ntk(Documents(), good, {"attention_mask": ids()})
