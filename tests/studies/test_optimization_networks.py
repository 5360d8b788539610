"""The networks of the optimization study: what is built, what is trained, and the limit they share."""

from dataclasses import replace

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.studies.model import ModelSpec
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.optimization.limit import infinite_width_gram
from ntkgap.studies.optimization.problem import OptimizationProblem
from tests.tolerances import EXACT

compute = OptimizationStudy.compute_cell

IMAGES = {"name": "digits", "n_train": 4, "n_test": 3, "options": {"flatten": False}}
TRAINING = {"natural_gradient": {"steps": 3}, "gradient_descent": {"steps": 4}}


def problem(**model):
    model = {"weight_std": 1.4, "depth": 1, **model}
    return OptimizationProblem(name="tiny", widths=[4], data=IMAGES, model=model, **TRAINING)


@pytest.mark.parametrize("antisymmetric", [False, True])
@pytest.mark.parametrize("architecture", ["mlp", "convnet", "wideresnet"])
def test_with_hidden_layers_alone_trained_the_readout_stays(architecture, antisymmetric):
    data, _ = problem(architecture=architecture).data.load(0)
    spec = {"architecture": architecture, "antisymmetric": antisymmetric}
    networks = [
        ModelSpec(**spec, trained=trained).build(data, 4, torch.Generator().manual_seed(0))
        for trained in ("all", "hidden")
    ]
    every, hidden = ({n: p.shape for n, p in m.named_parameters() if p.requires_grad} for m in networks)
    assert all(p.requires_grad for p in networks[0].parameters())
    assert [every[n] for n in every if n not in hidden] == [(10, 4 if architecture != "wideresnet" else 16)] * (
        2 if antisymmetric else 1
    )
    # The kernel of the hidden layers is that of all without the readout's, which takes the last features.
    gram = ng.empirical_ntk(networks[1], data.x)
    of_readout = ng.empirical_ntk(networks[0], data.x, parameters=[n for n in every if n not in hidden])
    torch.testing.assert_close(gram + of_readout, ng.empirical_ntk(networks[0], data.x))


@pytest.mark.parametrize("architecture", ["convnet", "wideresnet"])
@pytest.mark.parametrize("trained", ["all", "hidden"])
def test_a_cell_of_an_image_network(architecture, trained):
    model = {"architecture": architecture, "depth": 1, "weight_std": 1.4, "trained": trained}
    scalars = compute({"problem": "tiny", "width": 4, "seed": 0, "model": model, "data": IMAGES, **TRAINING})[
        "scalars"
    ]
    assert scalars["gram_rows"] == 40
    assert scalars["limit_distance"] > 0
    assert (
        scalars["n_parameters"]
        == {"convnet": (76, 36), "wideresnet": (4964, 4804)}[architecture][trained == "hidden"]
    )


@pytest.mark.parametrize(
    "model",
    [
        {"architecture": "mlp"},
        {"architecture": "convnet"},
        {"architecture": "wideresnet", "trained": "hidden"},
        {"architecture": "mlp", "parametrization": "standard"},
        {"architecture": "mlp", "gamma0": 2.0},
        {"architecture": "mlp", "parametrization": "mup"},
        {"architecture": "mlp", "alpha": 3.0, "antisymmetric": True},
    ],
)
def test_the_shared_limit_is_that_of_each_network(model):
    chosen = problem(**model)
    data, _ = chosen.data.load(5)
    data = data.to(torch.float64)
    for width in (3, 16):
        network = chosen.model.build(data, width, torch.Generator().manual_seed(width)).double()
        direct = torch.kron(ng.infinite_width(network).ntk(data.x), torch.eye(10).double())
        notes: list[str] = []
        shared = infinite_width_gram(chosen, network, data, 5, notes)
        assert shared is not None
        assert not notes
        torch.testing.assert_close(shared, direct, rtol=EXACT, atol=0)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"architecture": "shallow", "trained": "hidden"}, "trained has no effect on architecture 'shallow'"),
        ({"architecture": "wideresnet", "pooling": "flatten"}, "pooling has no effect"),
    ],
)
def test_idle_settings_are_refused(model, words):
    with pytest.raises(ValueError, match=words):
        ModelSpec(**model)


@pytest.mark.parametrize("architecture", ["convnet", "wideresnet"])
def test_image_networks_want_images(architecture):
    flat, _ = ng.load_data("digits", 4, 3, 0)
    with pytest.raises(StudyError, match=f"architecture '{architecture}' takes images"):
        ModelSpec(architecture=architecture).build(flat, 4, torch.Generator())
    without_channels = replace(flat, x=flat.x.reshape(4, 8, 8))
    with pytest.raises(StudyError, match=r"their one channel, x\[:, None\]"):
        ModelSpec(architecture=architecture).build(without_channels, 4, torch.Generator())
