"""What has no limit, or cannot be read off the model, is refused by name, place and reason."""

import pytest
import torch
from torch import Tensor, nn

import ntkgap as ng
from ntkgap.errors import DataError, KernelError, ModelError
from ntkgap.models import Initialization, NTKConv2d, NTKLinear, SelfAttention

VECTORS = torch.randn(3, 6)
IMAGES = torch.randn(3, 2, 8, 8)
TOKENS = torch.randn(3, 4, 6)


def head(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), *layers)


class Forward(nn.Module):
    """Two layers and a forward given as a function of them."""

    def __init__(self, function, **layers: nn.Module) -> None:
        super().__init__()
        self.a, self.b = NTKLinear(6, 6), NTKLinear(6, 6)
        self.scale = nn.Parameter(torch.ones(6))
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


CASES = {
    "max pooling": (
        nn.Sequential(NTKConv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), NTKLinear(36, 1)),
        IMAGES,
        r"'2' \(MaxPool2d\) takes maxima over positions",
    ),
    "batch norm in train mode": (
        nn.Sequential(NTKConv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), NTKLinear(144, 1)),
        IMAGES,
        r"'1' \(BatchNorm2d\) normalises over the batch in train mode",
    ),
    "batch norm with statistics": (
        nn.Sequential(nn.Linear(6, 8), _trained_norm := nn.BatchNorm1d(8), nn.Linear(8, 1)).eval(),
        VECTORS,
        r"holds statistics of a data set",
    ),
    "dropout in train mode": (head(nn.Dropout(0.1), nn.Linear(8, 1)), VECTORS, r"Dropout.*eval"),
    "two activations": (head(nn.ReLU(), nn.Tanh(), nn.Linear(8, 1)), VECTORS, r"'2' \(Tanh\).* not Gaussian"),
    "activation at the end": (head(nn.Sigmoid()), VECTORS, r"does not end with a linear layer"),
    "positions at the end": (NTKConv2d(2, 4, 3), IMAGES, r"still has positions \(6, 6\)"),
    "flattened end": (nn.Sequential(NTKConv2d(2, 4, 3), nn.Flatten()), IMAGES, r"folded into the outputs"),
    "softmax attention": (
        nn.Sequential(NTKLinear(6, 8), SelfAttention(8, scaling="sqrt")),
        TOKENS,
        r"SelfAttention\) applies softmax to logits",
    ),
    "torch's attention": (
        Forward(lambda m, x: m.t(x), t=nn.TransformerEncoderLayer(6, 2, dropout=0.0)),
        TOKENS,
        r"'t' \(TransformerEncoderLayer\) applies softmax to random scores",
    ),
    "recurrent": (Forward(lambda m, x: m.t(x)[0], t=nn.GRU(6, 4)), TOKENS, r"'t' \(GRU\) uses its weights again"),
    "tied weights": (Forward(lambda m, x: m.a(torch.relu(m.a(x)))), VECTORS, r"uses the weights of .* a second time"),
    "correlated branches": (
        Forward(lambda m, x: m.b((h := m.a(x)) + torch.relu(h))),
        VECTORS,
        r"adds two branches that both depend on",
    ),
    "two means": (
        Forward(lambda m, x: m.c(torch.relu(m.a(x)) + torch.relu(m.b(x))), c=NTKLinear(6, 1)),
        VECTORS,
        r"means are not zero",
    ),
    "equal copies": (
        Forward(lambda m, x: _copy(m)(x) - m.a(x), twin=NTKLinear(6, 6)),
        VECTORS,
        r"starts with exactly the weights of",
    ),
    "a parameter of one's own": (
        Forward(lambda m, x: m.b(torch.relu(m.a(x)) * m.scale)),
        VECTORS,
        r"combines the signal with a parameter of shape \(6,\)",
    ),
    "a shifted mean": (Forward(lambda m, x: m.b(m.a(x) + 1.0)), VECTORS, r"shifts its mean"),
    "routing": (
        Forward(lambda m, x: m.a(x) if x.sum() > 0 else m.b(x)),
        VECTORS,
        r"input-dependent routing",
    ),
    "softmax in between": (Forward(lambda m, x: m.b(torch.softmax(m.a(x), -1))), VECTORS, r"'softmax' in the forward"),
    "mean over channels": (
        Forward(lambda m, x: m.b(m.a(x) - m.a(x).mean(1, keepdim=True))),
        VECTORS,
        r"second time|channels",
    ),
    "depthwise": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(64, 1)),
        IMAGES,
        r"groups=4",
    ),
    "normalised activation": (head(nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 1)), VECTORS, r"mean over channels is not"),
    "normalised positions": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.LayerNorm(6), nn.Flatten(), nn.Linear(144, 1)),
        IMAGES,
        r"normalises over axes \[3\], which hold positions",
    ),
    "instance norm": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(144, 1)),
        IMAGES,
        r"InstanceNorm2d\) normalises single channels",
    ),
    "scales through a sum": (
        Forward(lambda m, x: m.b(torch.relu(m.n(m.a(x)) + m.c(x))), n=nn.LayerNorm(6), c=NTKLinear(6, 6)),
        VECTORS,
        r"holds the trained scales",
    ),
    "linear on pixels": (nn.Sequential(nn.Conv2d(2, 4, 3), nn.Linear(6, 3)), IMAGES, r"channels are on axis 1"),
    "no weights": (nn.Sequential(nn.Flatten(), nn.ReLU()), VECTORS, r"no parameters"),
    "shapes that do not fit": (head(nn.ReLU(), nn.Linear(9, 1)), VECTORS, r"cannot be followed on an input of shape"),
    "images with channels last": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(144, 1)),
        IMAGES.movedim(1, -1),
        r"cannot be followed on an input of shape \('n', 8, 8, 2\)",
    ),
    "an image model given vectors": (ng.ConvNet(2, 1, 4, 1, image_size=8), VECTORS, r"it takes images \[n, 2, H, W\]"),
}


def _copy(model):
    model.twin.weight.data.copy_(model.a.weight.data)
    return model.twin


_trained_norm.running_mean.fill_(0.3)


@pytest.mark.parametrize("name", CASES)
def test_refused_by_name_and_reason(name):
    model, x, words = CASES[name]
    with pytest.raises(ModelError, match=words):
        ng.infinite_width(model).ntk(x)


def test_hopeless_layers_are_refused_before_any_input():
    with pytest.raises(ModelError, match=r"MaxPool2d"):
        ng.infinite_width(CASES["max pooling"][0])
    with pytest.raises(ModelError, match=r"takes an nn.Module, got function"):
        ng.infinite_width(lambda x: x)


def test_what_happens_to_the_input_alone_is_computed_as_it_is():
    """Max pooling, activations and constants before the first weights are functions of the data."""
    head_ = nn.Sequential(nn.Flatten(), NTKLinear(32, 8), nn.ReLU(), NTKLinear(8, 1))
    whole = nn.Sequential(nn.MaxPool2d(2), nn.Tanh(), head_)
    features = torch.tanh(nn.functional.max_pool2d(IMAGES, 2))
    torch.testing.assert_close(ng.infinite_width(whole).ntk(IMAGES), ng.infinite_width(head_).ntk(features))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.full((2, 6), torch.nan),), r"x1 has NaN or infinite entries, in examples \[0, 1\]"),
        ((VECTORS, torch.randn(2, 5)), r"do not go together"),
        ((torch.randn(6),), r"x1 must be a tensor of inputs \[n, ...\]"),
        ((VECTORS[:0],), r"at least one"),
        (([1.0],), r"got list"),
        ((VECTORS.half(),), r"float32 or float64, not torch.float16"),
        ((VECTORS.to(torch.complex64),), r"complex"),
    ],
)
def test_bad_inputs_are_named(arguments, words):
    with pytest.raises(DataError, match=words):
        ng.infinite_width(head(nn.ReLU(), nn.Linear(8, 1))).ntk(*arguments)


class TestInitializations:
    """Weights must look like what they are taken to be drawn from."""

    @pytest.mark.parametrize(
        ("start", "variance"),
        [
            (lambda w: None, 1 / 3),
            (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), 2.0),
            (lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"), 2.0),
            (lambda w: nn.init.xavier_uniform_(w), 2 * 40 / (40 + 200)),
            (lambda w: nn.init.orthogonal_(w), 1.0 * 40 / 200),
            (lambda w: nn.init.zeros_(w), 0.0),
        ],
    )
    def test_customary_ones_are_recognised(self, start, variance):
        torch.manual_seed(0)
        layer = nn.Linear(40, 200, bias=False)
        start(layer.weight)
        x = torch.randn(3, 40, dtype=torch.float64)
        found = ng.infinite_width(layer).nngp(x)
        torch.testing.assert_close(found, variance * x @ x.T / 40)

    def test_others_are_refused_or_given(self):
        layer = nn.Linear(40, 200)
        nn.init.normal_(layer.weight, std=0.7)
        model = nn.Sequential(layer, nn.ReLU(), nn.Linear(200, 1))
        x = torch.randn(3, 40)
        with pytest.raises(ModelError, match=r"the weights of '0' have a standard deviation of 0\.[67]"):
            ng.infinite_width(model).ntk(x)
        said = {"0": Initialization(1.0, 0.7, 1.0, 0.0)}
        assert torch.isfinite(ng.infinite_width(model, initializations=said).ntk(x)).all()
        with pytest.raises(ModelError, match=r"names 'body', which is not a layer"):
            ng.infinite_width(model, initializations={"body": said["0"]})
        nn.init.constant_(layer.weight, 0.1)
        with pytest.raises(ModelError, match=r"the weights of '0'"):
            ng.infinite_width(model).ntk(x)
        nn.init.kaiming_normal_(layer.weight)
        nn.init.constant_(layer.bias, 0.5)
        with pytest.raises(ModelError, match=r"the biases of '0'"):
            ng.infinite_width(model).ntk(x)

    def test_trained_weights_are_refused(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 300), nn.ReLU(), nn.Linear(300, 1))
        with torch.no_grad():
            model[0].weight.mul_(1.5)
        with pytest.raises(ModelError, match=r"pass one that has not been trained"):
            ng.infinite_width(model).ntk(VECTORS)


class TestMonteCarlo:
    """The estimate for whatever has no recursion."""

    def test_it_estimates_what_is_refused(self):
        def build():
            return nn.Sequential(
                nn.Conv2d(2, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 9, 2)
            )

        found = ng.monte_carlo_kernel(build, IMAGES, draws=6, seed=3)
        assert found.ntk.shape == found.ntk_error.shape == (3, 3)
        assert (found.ntk_error < 0.2 * found.ntk.diagonal().max()).all()
        again = ng.monte_carlo_kernel(build, IMAGES, IMAGES[:2], draws=6, seed=3)
        torch.testing.assert_close(again.ntk, found.ntk[:, :2])

    def test_bad_arguments(self):
        fixed = head(nn.ReLU(), nn.Linear(8, 1))
        with pytest.raises(KernelError, match=r"draws must be an integer of at least 2"):
            ng.monte_carlo_kernel(lambda: fixed, VECTORS, draws=1)
        with pytest.raises(KernelError, match=r"all networks have the same kernel"):
            ng.monte_carlo_kernel(lambda: fixed, VECTORS, draws=3)
        with pytest.raises(ModelError, match=r"must return an nn.Module, got int"):
            ng.monte_carlo_kernel(lambda: 3, VECTORS)
