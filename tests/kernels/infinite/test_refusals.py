"""What has no limit, or cannot be read off the model, is refused by name, place and reason."""

import pytest
import torch
from torch import Tensor, nn

import ntkgap as ng
from ntkgap.errors import AccuracyWarning, DataError, KernelError, ModelError
from ntkgap.models import Antisymmetric, NTKConv2d, NTKLinear, SelfAttention

VECTORS = torch.randn(3, 6)
IMAGES = torch.randn(3, 2, 8, 8)
TOKENS = torch.randn(3, 4, 6)


def head(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), *layers)


def _without_gradient(m, x):
    with torch.no_grad():
        h = torch.relu(m.a(x))
    return m.b(h)


def _unlike_copies():
    model = Antisymmetric(nn.Sequential(NTKLinear(6, 8), nn.ReLU(), NTKLinear(8, 1)))
    model.minus.requires_grad_(False)
    return model


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
        r"'1' \(BatchNorm2d\) normalizes over the batch in train mode",
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
    "tied weights": (
        Forward(lambda m, x: m.a(torch.relu(m.a(x)))),
        VECTORS,
        r"uses the weights of .* a second time",
    ),
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
        Forward(lambda m, x: _copy(m)(x) - m.a(x), linearized=NTKLinear(6, 6)),
        VECTORS,
        r"starts with exactly the weights of",
    ),
    "a parameter of one's own": (
        Forward(lambda m, x: m.b(torch.relu(m.a(x)) * m.scale.exp())),
        VECTORS,
        r"multiplies the signal by a function of parameters",
    ),
    "a shifted mean": (Forward(lambda m, x: m.b(torch.relu(m.a(x) + 1.0))), VECTORS, r"not Gaussian"),
    "routing": (
        Forward(lambda m, x: m.a(x) if x.sum() > 0 else m.b(x)),
        VECTORS,
        r"input-dependent routing",
    ),
    "softmax in between": (
        Forward(lambda m, x: m.b(torch.softmax(m.a(x), -1))),
        VECTORS,
        r"'softmax' \(softmax\) in the forward of Forward mixes channels",
    ),
    "mean over channels": (
        Forward(lambda m, x: m.b(m.a(x) - m.a(x).mean(1, keepdim=True))),
        VECTORS,
        r"second time|channels",
    ),
    "chunks": (
        Forward(lambda m, x: m.c(torch.mul(*m.a(x).chunk(2, -1))), c=NTKLinear(3, 1)),
        VECTORS,
        r"returns a tuple of a random signal",
    ),
    "a parameter sliced": (Forward(lambda m, x: m.a(x * m.scale[:6].exp())), VECTORS, r"'mul'.* parameter"),
    "weights by an expression": (
        Forward(lambda m, x: torch.nn.functional.linear(x, m.a.weight * 3)),
        VECTORS,
        r"multiplies by something that is not a parameter",
    ),
    "hooks": (head(_hooked := nn.Linear(8, 1)), VECTORS, r"'1' \(Linear\) has forward hooks"),
    "spectral norm": (
        head(nn.utils.parametrizations.spectral_norm(nn.Linear(8, 1))),
        VECTORS,
        r"'1' \(ParametrizedLinear\) computes its parameters from others",
    ),
    "in place, and the old value again": (
        Forward(lambda m, x: m.b((h := m.a(x)) + h.mul_(3.0))),
        VECTORS,
        r"changes 'model_a' in place",
    ),
    "in place, result dropped": (
        Forward(lambda m, x: ((h := m.a(x)).mul_(3.0), m.b(h))[1]),
        VECTORS,
        r"changes 'model_a' in place",
    ),
    "without gradient": (Forward(_without_gradient), VECTORS, r"runs under torch.no_grad\(\)"),
    "batch statistics": (Forward(lambda m, x: m.a(x - x.mean(0))), VECTORS, r"mixes the examples of a batch"),
    "noise": (Forward(lambda m, x: m.a(x + torch.randn_like(x))), VECTORS, r"draws random numbers"),
    "two outputs": (Forward(lambda m, x: (m.a(x), x)), VECTORS, r"returns a tuple; kernels need one tensor"),
    "a dictionary": (Forward(lambda m, x: {"y": m.a(x)}), VECTORS, r"returns a dict"),
    "a number of the batch": (Forward(lambda m, x: m.a(x) + 0 * x.sum()), VECTORS, r"of shape \('n',\)|mixes"),
    "examples made of rows": (
        Forward(lambda m, x: m.a(x.reshape(-1, 6))),
        torch.randn(4, 12),
        r"turns 3 inputs into 6",
    ),
    "rounded quotients": (
        Forward(lambda m, x: m.b(torch.div(m.a(x), 2.0, rounding_mode="floor"))),
        VECTORS,
        r"arguments that are not followed",
    ),
    "an exponent that is random": (Forward(lambda m, x: m.b(torch.pow(2.0, m.a(x)))), VECTORS, r"'pow'"),
    "a mean in another type": (
        nn.Sequential(NTKConv2d(2, 4, 3), Forward(lambda m, x: x.mean((2, 3), dtype=torch.float64))),
        IMAGES,
        r"'mean'.* has dtype=",
    ),
    "rounded values": (
        Forward(lambda m, x: m.b(torch.relu(m.a(x)).to(torch.int32).float())),
        VECTORS,
        r"rounds to torch.int32",
    ),
    "the batch as a number": (Forward(lambda m, x: m.a(x) * x.shape[0]), VECTORS, r"number of examples"),
    "two normalizations": (
        head(nn.LayerNorm(8), nn.RMSNorm(8), nn.GELU(), nn.Linear(8, 1)),
        VECTORS,
        r"'2' \(RMSNorm\) follows trained scales of another",
    ),
    "a half-normalized activation": (
        head(nn.LayerNorm(8), nn.LayerNorm(8, elementwise_affine=False), nn.GELU(), nn.Linear(8, 1)),
        VECTORS,
        r"holds the trained scales",
    ),
    "antisymmetric behind weights": (
        head(nn.ReLU(), Antisymmetric(nn.Linear(8, 1))),
        VECTORS,
        r"make the whole network antisymmetric",
    ),
    "unlike copies": (_unlike_copies(), VECTORS, r"two copies of an Antisymmetric network differ"),
    "transposed": (Forward(lambda m, x: m.a(x).T), VECTORS, r"'getattr'"),
    "a normalized input": (nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 1)), VECTORS, r"acts on the input itself"),
    "depthwise": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(64, 1)),
        IMAGES,
        r"groups=4",
    ),
    "normalized activation": (
        head(nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 1)),
        VECTORS,
        r"mean over channels is not",
    ),
    "normalized positions": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.LayerNorm(6), nn.Flatten(), nn.Linear(144, 1)),
        IMAGES,
        r"normalizes over axes \[3\], which hold positions",
    ),
    "instance norm": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(144, 1)),
        IMAGES,
        r"InstanceNorm2d\) normalizes single channels",
    ),
    "scales through a sum": (
        Forward(lambda m, x: m.b(torch.relu(m.n(m.a(x)) + m.c(x))), n=nn.LayerNorm(6), c=NTKLinear(6, 6)),
        VECTORS,
        r"holds the trained scales",
    ),
    "linear on pixels": (nn.Sequential(nn.Conv2d(2, 4, 3), nn.Linear(6, 3)), IMAGES, r"channels are on axis 1"),
    "no weights": (nn.Sequential(nn.Flatten(), nn.ReLU()), VECTORS, r"no parameters"),
    "shapes that do not fit": (
        head(nn.ReLU(), nn.Linear(9, 1)),
        VECTORS,
        r"cannot be followed on an input of shape",
    ),
    "images with channels last": (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(144, 1)),
        IMAGES.movedim(1, -1),
        r"cannot be followed on an input of shape \('n', 8, 8, 2\)",
    ),
    "an image model given vectors": (
        ng.ConvNet(2, 1, 4, 1, image_size=8),
        VECTORS,
        r"it takes images \[n, 2, H, W\]",
    ),
}


def _copy(model):
    model.linearized.weight.data.copy_(model.a.weight.data)
    return model.linearized


_trained_norm.running_mean.fill_(0.3)
_hooked.register_forward_hook(lambda module, inputs, output: 2 * output)


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


def test_models_are_followed_through_what_users_write():
    """Functional dropout and detach, modules made on the way, in-place steps nobody looks back at."""
    reference = nn.Sequential(NTKLinear(6, 6), nn.ReLU(), NTKLinear(6, 6))
    expected = ng.infinite_width(reference).kernels(VECTORS)

    def forward(m, x):
        h = nn.functional.dropout(m.a(x), 0.5, False)
        return m.b(nn.ReLU(inplace=True)(h))

    torch.testing.assert_close(ng.infinite_width(Forward(forward)).kernels(VECTORS), expected)
    detached = ng.infinite_width(Forward(lambda m, x: m.b(torch.relu(m.a(x)).detach()))).kernels(VECTORS)
    torch.testing.assert_close(detached.nngp, expected.nngp)
    torch.testing.assert_close(detached.ntk, expected.nngp)  # the readout's part alone

    sums = ng.infinite_width(Forward(lambda m, x: torch.add(m.a(x), other=torch.mul(m.b(x), other=2.0))))
    torch.testing.assert_close(sums.nngp(VECTORS), 5 * VECTORS @ VECTORS.T / 6)
    squared = ng.infinite_width(Forward(lambda m, x: m.b(m.a(x) ** 2))).nngp(VECTORS, diagonal=True)
    torch.testing.assert_close(squared, 3 * VECTORS.square().mean(1) ** 2)

    class Standardized(Forward):
        def __init__(self):
            super().__init__(lambda m, x: m.a((x - m.mean) / m.std))
            self.register_buffer("mean", torch.full((6,), 0.3))
            self.register_buffer("std", torch.full((6,), 2.0))

    found = ng.infinite_width(Standardized()).nngp(VECTORS, dtype=torch.float64)
    z = (VECTORS.double() - 0.3) / 2
    torch.testing.assert_close(found, z @ z.T / 6, rtol=1e-6, atol=1e-6)

    class Half(nn.Module):
        def forward(self, x):
            return 0.5 * x

    halved = ng.infinite_width(nn.Sequential(NTKLinear(6, 6), Half(), nn.ReLU(), NTKLinear(6, 6), Half()))
    torch.testing.assert_close(halved.nngp(VECTORS), expected.nngp / 16)

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    doubled = ng.infinite_width(Doubled(6, 50, bias=False)).kernels(VECTORS)
    torch.testing.assert_close(doubled.nngp, 4 * VECTORS @ VECTORS.T / 18)
    torch.testing.assert_close(doubled.ntk, 4 * VECTORS @ VECTORS.T)

    given = VECTORS.clone()
    ng.infinite_width(Forward(lambda m, x: m.a(x.mul_(2)))).ntk(given)
    assert torch.equal(given, VECTORS)


def test_kinds_of_numbers_and_modes():
    model = nn.Sequential(NTKLinear(6, 6), nn.ReLU(), NTKLinear(6, 1))
    expected = ng.infinite_width(model).ntk(VECTORS.double())
    torch.testing.assert_close(
        ng.infinite_width(model).ntk(VECTORS, dtype=torch.float64), expected, rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(ng.infinite_width(model.double()).ntk(VECTORS), expected.float())
    with torch.inference_mode():
        torch.testing.assert_close(ng.infinite_width(model).ntk(VECTORS.clone().double()), expected)
    torch.testing.assert_close(ng.infinite_width(model).ntk(VECTORS.double()[:1]), expected[:1, :1])
    with pytest.raises(KernelError, match=r"overflow.* pass dtype=torch.float64"):
        ng.infinite_width(model).ntk(VECTORS * 1e20)
    with pytest.raises(KernelError, match=r"underflow in torch.float32"):
        ng.infinite_width(model).ntk(VECTORS * 1e-20)
    with pytest.raises(KernelError, match=r"memory_budget must be a positive number of bytes, got '1GB'"):
        ng.infinite_width(model).ntk(VECTORS, memory_budget="1GB")
    with pytest.raises(ModelError, match=r"initializations maps names of layers to Initialization, got list"):
        ng.infinite_width(model, initializations=["0"])
    with pytest.raises(ModelError, match=r"on the device 'meta'"):
        ng.infinite_width(NTKLinear(6, 1).to("meta")).ntk(VECTORS)
    with pytest.raises(ModelError, match=r"initializations\['0'\] must be an Initialization"):
        ng.infinite_width(model, initializations={"0": 2.0})


def test_a_doubtful_quadrature_is_said():
    """Saturated units at nearly equal inputs: slopes like jumps, which no series reaches."""
    model = nn.Sequential(NTKLinear(6, 8, 100.0), nn.Tanh(), NTKLinear(8, 1))
    near = torch.cat([VECTORS, VECTORS + 1e-2 * torch.randn_like(VECTORS)]).double()
    limit = ng.infinite_width(model)
    with pytest.warns(AccuracyWarning, match=r"may be off by .*tanh"):
        limit.ntk(near)
    assert limit.error > 1e-3


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


def test_lazy_layers_are_named():
    with pytest.raises(ModelError, match="lazy layer has no shape"):
        ng.infinite_width(nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, 1)))


def test_functions_are_refused_for_the_reason_of_their_module():
    pooled = Forward(lambda m, x: m.last(nn.functional.max_pool2d(m.conv(x), 2).flatten(1)))
    pooled.conv, pooled.last = NTKConv2d(2, 4, 3, padding=1), NTKLinear(64, 1)
    with pytest.raises(ModelError, match="takes maxima over positions"):
        ng.infinite_width(pooled).ntk(IMAGES)
