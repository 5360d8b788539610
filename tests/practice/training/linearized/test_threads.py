"""Many threads, with one linearized model or each with its own."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import ntkgap as ng
from tests.practice.training.linearized.networks import HARD
from tests.practice.training.linearized.test_routes import assert_near, gradient, perturbed
from tests.tolerances import EXACT

pytestmark = pytest.mark.usefixtures("threads_change_places_often")
ROUTES = ["detached", "encoder layer", "norm without gradient", "segments", "clips its weights"]


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
def test_eight_threads(name, shared):
    case = HARD[name]
    model, x = case.model(), case.inputs()
    linearized = ng.linearize(model)
    perturbed(linearized)
    value = linearized(x).detach()
    v = torch.randn_like(value)
    slope = gradient(linearized, linearized(x), v)
    fresh = ng.linearize(model)
    perturbed(fresh)

    def run(_):
        own = fresh
        if not shared:
            own = ng.linearize(model)
            perturbed(own)
        outputs = own(x)
        return outputs.detach(), gradient(own, outputs, v)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(run, range(32)))
    for outputs, grad in found:
        assert_near(outputs, value, EXACT)
        assert_near(grad, slope, EXACT)
