"""What training in function space refuses, in one sentence each, and what optimizers it can follow."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ntkgap as ng
from ntkgap.errors import DivergenceError, KernelError, NtkgapError
from ntkgap.theory import KernelDynamics

N, C, K = 5, 2, 3
torch.manual_seed(0)
FEATURES = torch.randn((N + K) * C, 20, dtype=torch.float64)
GRAM, CROSS = FEATURES[: N * C] @ FEATURES[: N * C].T, FEATURES[N * C :] @ FEATURES[: N * C].T
F0, F0_NEW = torch.randn(N, C, dtype=torch.float64), torch.randn(K, C, dtype=torch.float64)
Y = torch.eye(C, dtype=torch.float64)[torch.arange(N) % C]


def train(gram=GRAM, outputs=F0, targets=Y, **changed):
    return ng.theory.train_in_function_space(
        gram, outputs, targets, **{"learning_rate": 0.01, "steps": 4} | changed
    )


def with_nan(values):
    values = values.clone()
    values[0, 0] = math.nan
    return values


BAD = {
    "numpy kernel": ({"gram": GRAM.numpy()}, "Gram matrix must be a tensor, got ndarray"),
    "other size": ({"gram": GRAM[:6, :6]}, r"must have shape \(10, 10\), or \(5, 5\).*got \(6, 6\)"),
    "not laid out": ({"gram": torch.zeros(N, N, C, C)}, "as_matrix"),
    "not symmetric": ({"gram": GRAM + torch.arange(10.0)}, "not symmetric"),
    "kernel with NaN": ({"gram": with_nan(GRAM)}, "Gram matrix.*NaN"),
    "indefinite": ({"gram": -GRAM}, "negative square norm at step 0"),
    "outputs of one axis": ({"outputs": F0[:, 0]}, r"initial outputs must be.*\(\.\.\., n, C\)"),
    "outputs as list": ({"outputs": F0.tolist()}, "initial outputs must be"),
    "integer outputs": ({"outputs": F0.long()}, "initial outputs must be floating-point"),
    "outputs with NaN": ({"outputs": with_nan(F0)}, "NaN or infinite entries in the initial outputs"),
    "targets of another shape": ({"targets": Y[:, :1]}, r"targets of loss='squared'.*\(5, 2\).*got .*\(5, 1\)"),
    "class indices": ({"targets": Y.argmax(1), "loss": "cross_entropy"}, "one for every output"),
    "targets as array": ({"targets": Y.numpy()}, "targets must be a tensor, got ndarray"),
    "targets with NaN": ({"targets": with_nan(Y)}, "targets have NaN"),
    "no probabilities": ({"targets": Y + 0.1, "loss": "cross_entropy"}, "one-hot or probabilities"),
    "negative probabilities": ({"targets": 2 * Y - 0.5, "loss": "cross_entropy"}, "one-hot or probabilities"),
    "too few targets": ({"targets": Y[:3], "loss": nn.MSELoss()}, "one entry for each of the 5 examples"),
    "unknown loss": ({"loss": "hinge"}, "unknown loss 'hinge'; give one of squared, cross_entropy, or a callable"),
    "no loss": ({"loss": None}, "unknown loss None"),
    "loss of every example": ({"loss": nn.MSELoss(reduction="none")}, r"one number.*got torch.float64 of shape"),
    "loss as class": ({"loss": nn.MSELoss}, "loss is the class MSELoss; give a loss, such as MSELoss"),
    "loss that detaches": ({"loss": lambda f, y: (f - y).square().sum().detach()}, "autograd can follow"),
    "loss that is a float": ({"loss": lambda f, y: (f - y).square().sum().item()}, "must return a tensor"),
    "loss that fails": ({"loss": lambda f, y: f @ y}, r"loss raised RuntimeError for outputs of shape \(5, 2\)"),
    "loss of float32 weights": (
        {"loss": nn.CrossEntropyLoss(weight=torch.ones(C)), "targets": Y.argmax(1)},
        "loss raised RuntimeError .* in float64",
    ),
    "loss without value": (
        {"loss": lambda f, y: (f.sum() - f.sum() - 1).log()},
        "not finite on the initial outputs",
    ),
    "loss without slope": (
        {"loss": lambda f, y: (f - f.detach()).abs().sqrt().sum()},
        "loss or its gradient is not",
    ),
    "zero rate": ({"learning_rate": 0.0}, "learning_rate must be positive and finite, got 0.0"),
    "rate as text": ({"learning_rate": "0.1"}, "learning_rate must be a number or one a step, got '0.1'"),
    "true rate": ({"learning_rate": True}, "learning_rate must be"),
    "short schedule": ({"learning_rate": [0.1, 0.1]}, "learning_rate has 2 numbers for 4 steps"),
    "schedule with NaN": ({"learning_rate": [0.1, 0.1, math.nan, 0]}, "learning_rate at step 2 must be finite"),
    "negative steps": ({"steps": -1}, "steps must be an integer of at least 0"),
    "half steps": ({"steps": 2.5}, "steps must be an integer"),
    "zero divisor": ({"divisor": 0}, "divisor must be positive"),
    "divisor as text": ({"divisor": "n"}, "divisor must be positive"),
    "momentum of one": ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
    "nesterov alone": ({"nesterov": True}, "nesterov must be True, with a momentum above 0"),
    "negative decay": ({"weight_decay": -0.1}, "weight_decay must be finite and at least 0"),
    "decay to nowhere": ({"weight_decay": 0.1, "decay_to": "mean"}, "decay_to must be 'zero' or 'initial'"),
    "no linear term": ({"weight_decay": 0.1}, r"needs linear_term.*ntkgap\.linearize\(model\) at 2θ_0"),
    "linear term in vain": ({"linear_term": F0}, "counts for weight decay to zero alone"),
    "linear term of another shape": (
        {"weight_decay": 0.1, "linear_term": F0[:2]},
        r"shape of f_0 there, \(5, 2\)",
    ),
    "clip at zero": ({"clip_norm": 0}, "clip_norm must be positive"),
    "batches without scale": ({"batches": [[0]] * 4}, "batches need a batch_scale"),
    "scale without batches": ({"batch_scale": "n/b"}, "batches need a batch_scale, and nothing else does"),
    "unknown scale": ({"batches": [[0]] * 4, "batch_scale": "mean"}, "batch_scale must be 'n/b' or a positive"),
    "too few batches": ({"batches": [[0]] * 3, "batch_scale": 1}, "one for each of the 4 steps, got 3"),
    "batches as generator": ({"batches": ([0] for _ in range(4)), "batch_scale": 1}, "must be a list.*generator"),
    "empty batch": ({"batches": [[0], [], [1], [2]], "batch_scale": 1}, "batch of step 1 is empty"),
    "batch out of range": (
        {"batches": [[0], [1], [5], [2]], "batch_scale": 1},
        "batch of step 2 must be .* 0 to 4",
    ),
    "batch from the end": ({"batches": [[-1]] * 4, "batch_scale": 1}, "batch of step 0 must be"),
    "batch as mask": ({"batches": [[True] * 5] * 4, "batch_scale": 1}, "batch of step 0 must be whole numbers"),
    "batch as text": ({"batches": ["all"] * 4, "batch_scale": 1}, "batch of step 0 is no tensor of indices"),
    "observed too late": ({"observe_at": [0, 5]}, "observe_at must be ascending steps between 0 and 4"),
    "observed backwards": ({"observe_at": [3, 1]}, "observe_at must be ascending"),
    "observed between steps": ({"observe_at": [0.5]}, "observe_at must be ascending"),
    "observed at one number": ({"observe_at": 3}, "observe_at must be ascending"),
}


@pytest.mark.parametrize(("changed", "message"), list(BAD.values()), ids=list(BAD))
def test_bad_input_is_named(changed, message):
    train()  # as it is, it is fine
    with pytest.raises(KernelError, match=message):
        train(**changed)


def test_bad_predictions_are_named():
    training = train(observe_at=[0, 4])
    assert training.predict(CROSS, F0_NEW).shape == (2, K, C)
    for cross, initial, message in (
        (CROSS.T, F0_NEW, r"cross kernel must have shape \(6, 10\), got \(10, 6\)"),
        (CROSS.numpy(), F0_NEW, "cross kernel must be a tensor"),
        (torch.zeros(K, N, C, C), F0_NEW, "as_matrix"),
        (with_nan(CROSS), F0_NEW, "cross kernel has NaN"),
        (CROSS, F0_NEW[:, :1], r"must have shape \(k, 2\)"),
        (CROSS, F0_NEW.expand(4, K, C), r"must have shape \(k, 2\), as on the training inputs; got \(4, 3, 2\)"),
        (CROSS, with_nan(F0_NEW), "NaN or infinite entries in the initial function on the new points"),
    ):
        with pytest.raises(KernelError, match=message):
            training.predict(cross, initial)
    with pytest.raises(KernelError, match="counts for weight decay to zero alone"):
        training.predict(CROSS, F0_NEW, F0_NEW)
    decayed = train(weight_decay=0.1, linear_term=F0, observe_at=[0])
    with pytest.raises(KernelError, match=r"needs linear_term, J_0θ_0 on the new points"):
        decayed.predict(CROSS, F0_NEW)
    with pytest.raises(KernelError, match=r"targets must have the shape of the residual, \(5, 2\), got \(5, 1\)"):
        KernelDynamics(GRAM, F0 - Y).train(Y[:, :1], learning_rate=0.1, steps=2)


def test_divergence_is_said_with_its_step():
    draws = torch.stack([Y, F0])  # the first starts at its targets, and stays
    with pytest.raises(
        DivergenceError, match=r"at step (\d+) \(initial function 1\); lower learning_rate"
    ) as error:
        train(outputs=draws, learning_rate=1e3, steps=1000)
    step = int(str(error.value).split("at step ")[1].split()[0])
    seen = train(outputs=draws, learning_rate=1e3, steps=step - 1)
    assert torch.isfinite(seen.losses).all()
    assert not seen.losses[:, 0].any()
    assert seen.losses[-1, 1] > 1e290
    # A bounded gradient does not diverge: it circles, as the network would.
    assert torch.isfinite(train(learning_rate=1e3, steps=1000, loss="cross_entropy").outputs).all()


def test_the_settings_of_an_optimizer():
    def settings_of(**chosen):
        return ng.theory.sgd_settings(torch.optim.SGD([nn.Parameter(torch.ones(2))], **chosen))

    expected = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    assert settings_of(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01) == expected
    assert settings_of(lr=torch.tensor(0.5))["learning_rate"] == 0.5
    train(steps=2, linear_term=F0, **expected | {"learning_rate": 0.01})
    for chosen in ({"momentum": 0.5, "dampening": 0.1}, {"maximize": True}):
        with pytest.raises(KernelError, match=r"dampening and maximize.*ntkgap\.linearize"):
            settings_of(lr=0.1, **chosen)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad])
def test_optimizers_that_do_not_close_name_the_linearized_model(kind):
    with pytest.raises(KernelError, match=rf"{kind.__name__} is not torch.optim.SGD.*ntkgap\.linearize\(model\)"):
        ng.theory.sgd_settings(kind([nn.Parameter(torch.ones(2))], lr=0.1))


def test_optimizers_that_kernels_do_not_know_whole():
    one, two = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    for key, value in (("lr", 0.2), ("weight_decay", 0.1), ("momentum", 0.5)):
        groups = [{"params": [one]}, {"params": [two], key: value}]
        with pytest.raises(KernelError, match=f"{key} differs between.*linearize"):
            ng.theory.sgd_settings(torch.optim.SGD(groups, lr=0.1))
    used = torch.optim.SGD([one], lr=0.1, momentum=0.9)
    one.grad = torch.ones(2)
    used.step()
    with pytest.raises(KernelError, match="velocity from earlier steps"):
        ng.theory.sgd_settings(used)
    derived = type("Mine", (torch.optim.SGD,), {})
    with pytest.raises(KernelError, match=r"Mine is not torch\.optim\.SGD"):
        ng.theory.sgd_settings(derived([one], lr=0.1))


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.one_of(st.integers(-2, 7), st.floats(), st.booleans(), st.none()), max_size=5),
    st.lists(st.lists(st.integers(-1, 5), max_size=3), max_size=5),
    st.sampled_from([F0, F0[None], Y.long(), GRAM, F0[:, :0], torch.tensor(0.1), torch.arange(4) / 9]),
    st.sampled_from([np.float32(0.1), np.arange(4), np.array("a"), object(), {}, nn.MSELoss(), torch.nn.ReLU()]),
)
NAMES = ["gram", "outputs", "targets", "learning_rate", "steps", "loss", "divisor", "momentum", "nesterov"]
NAMES += ["weight_decay", "decay_to", "clip_norm", "batches", "batch_scale", "linear_term", "observe_at"]


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=3))
def test_whatever_is_given_ends_in_numbers_or_in_a_sentence(changed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a loss of another shape than its targets, rounding
        try:
            found = train(**changed)
        except NtkgapError:
            return
    assert torch.isfinite(found.losses).all()
    assert torch.isfinite(found.outputs).all()
