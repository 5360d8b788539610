"""Training as a user does it, beside what the kernel at the start predicts where outputs determine its steps."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from ntkgap.errors import DivergenceError, KernelError, NtkgapError
from ntkgap.kernels import jacobian, relative_change
from ntkgap.linalg import as_matrix
from ntkgap.models import learning_rate_factor
from ntkgap.practice import linearize, train
from ntkgap.practice.training.batches import Minibatches
from ntkgap.practice.training.network_modes import modes_differ
from ntkgap.studies.claim import Claim
from ntkgap.studies.figures import CurveFigure
from ntkgap.studies.findings import Findings
from ntkgap.studies.optimization.drift import PathDrift
from ntkgap.studies.optimization.start import Start
from ntkgap.studies.train_spec import TrainSpec
from ntkgap.theory import FunctionSpaceTraining, train_in_function_space

PREDICTED = ("own_loss_gap", "own_prediction_gap")
OF_OWN_TRAINING = (*PREDICTED, "own_kernel_change")


def follow_own_training(spec: TrainSpec, start: Start, seed: int, points: int, findings: Findings) -> None:
    """Train as the user does; measure the kernel's change, and compare with what it predicts if it does."""
    network = copy.deepcopy(start.network)
    settings = spec.settings(learning_rate_factor(network))
    drift = PathDrift(network, start, settings["steps"], points)
    observe = None if spec.fit is not None else drift.observe
    curve = train(
        network, start.train, generator=Generator().manual_seed(seed), test=start.test, observe=observe, **settings
    )
    findings.add_stop("own training", curve)
    unit = abs(curve.losses[0]) or 1.0
    findings.curves["own_loss"] = [loss / unit for loss in curve.losses]
    reason = spec.unpredictable
    if not reason and modes_differ(start.network, start.train.x):
        reason = "what the network does in train mode alone, such as batch statistics, is no part of its kernel"
    if curve.stopped:
        findings.scalars |= dict.fromkeys(("own_kernel_change", "own_loss_end", *PREDICTED), math.inf)
    if reason:
        findings.leave_out(reason, *PREDICTED)
    if curve.stopped:
        return
    at = jacobian(network.eval(), start.train.x, recipe=start.at.recipe)
    findings.scalars |= {
        "own_kernel_change": relative_change(as_matrix(at.gram()), start.gram),
        "own_loss_end": findings.curves["own_loss"][-1],
        "own_test_loss_end": curve.test_losses[-1],
    }
    if reason:
        return
    try:
        training = _predict(spec, settings, start, seed)
    except DivergenceError as error:
        findings.notes.append(f"the kernel predicts that own training diverges: {error}")
        findings.scalars |= dict.fromkeys(PREDICTED, math.inf)
        return
    except NtkgapError as error:
        findings.leave_out(str(error), *PREDICTED)
        return
    losses = training.losses.tolist()
    findings.curves["own_loss_predicted"] = [loss / unit for loss in losses]
    pairs = zip(curve.losses, losses, strict=True)
    findings.scalars["own_loss_gap"] = max(abs(seen - predicted) for seen, predicted in pairs) / unit
    test_at = jacobian(start.network, start.test.x)
    predicted = training.predict(
        as_matrix(test_at.gram(start.at)), test_at.outputs, _linear(spec, start, start.test.x)
    )
    with torch.no_grad():
        moved = predicted[0] - test_at.outputs
        gap = network(start.test.x).reshape(moved.shape) - predicted[0]
    findings.scalars["own_prediction_gap"] = float(gap.norm() / moved.norm()) if moved.any() else math.nan


def _predict(spec: TrainSpec, settings: Mapping[str, Any], start: Start, seed: int) -> FunctionSpaceTraining:
    """What K(θ₀) says of the same steps on the same batches.

    Raises:
        DivergenceError: if it says that they diverge.
        KernelError: if it says nothing of them.
    """
    n, size = len(start.train), spec.batch_size or len(start.train)
    batches = Minibatches(n, size, Generator().manual_seed(seed))
    shown = None if size == n else [next(batches) for _ in range(settings["steps"])]
    named = isinstance(settings["loss"], str)
    rate: float = spec.learning_rate  # type: ignore[assignment]  # of "gd" and "sgd" it is given
    schedule = settings["schedule"]
    rates = rate if schedule is None else [rate * float(schedule(step)) for step in range(settings["steps"])]
    return train_in_function_space(
        start.gram,
        start.at.outputs,
        start.train.y,
        learning_rate=rates,
        steps=settings["steps"],
        loss=settings["loss"],
        momentum=spec.velocity,
        weight_decay=spec.weight_decay,
        clip_norm=spec.clip,
        batches=shown,
        batch_scale=None if shown is None else "n/b" if named else 1,
        linear_term=_linear(spec, start, start.train.x),
    )


def _linear(spec: TrainSpec, start: Start, x: Tensor) -> Tensor | None:
    """J₀θ₀ on some inputs, which weight decay to zero asks for: the linearized model at 2θ₀ less the network.

    Raises:
        KernelError: if the network's learning rates have factors, in which weight decay is another one.
    """
    if not spec.weight_decay:
        return None
    if learning_rate_factor(start.network) != 1:
        raise KernelError("weight decay is not followed where layers have learning rates of their own")
    linearized = linearize(start.network)
    twice = {name: 2 * p.detach() for name, p in linearized.named_parameters() if p.requires_grad}
    with torch.no_grad():
        found = torch.func.functional_call(linearized, twice, (x,)) - start.network(x)
    return found.reshape(len(x), -1)


def own_training_claims(curve: float, kernel: float, linearized: float) -> list[Claim]:
    """Of training as the user does it; parts that count as close enough."""
    source = "Jacot, Gabriel, Hongler 2018; Lee et al. 2019; any loss: training in function space"
    return [
        Claim(
            key="own_curve",
            title="Your training loss falls as the kernel predicts",
            question="Does your training loss fall as predicted?",
            headline="your loss falls as predicted",
            statement="L_t follows the loss of the linearized model under the same steps on the same batches.",
            source=source,
            kind="consequence",
            quantity="own_loss_gap",
            label="sup over t of |L_t − L̂_t| / L_0",
            threshold=curve,
            direction="below",
            criterion=f"the largest gap is below {curve:.0%} of the initial loss",
            prediction="vanishes at infinite width",
            optional=True,
        ),
        Claim(
            key="own_kernel",
            title="The kernel is nearly constant while you train",
            question="Is the kernel nearly constant while you train?",
            statement="‖K(θ_T) − K(θ₀)‖_F is small against ‖K(θ₀)‖_F after your training.",
            source="Jacot, Gabriel, Hongler 2018, Theorem 2",
            kind="consequence",
            quantity="own_kernel_change",
            label="‖K_T − K_0‖ / ‖K_0‖",
            threshold=kernel,
            direction="below",
            criterion=f"the relative change is below {kernel:.0%}",
            prediction="vanishes at infinite width",
            optional=True,
        ),
        Claim(
            key="own_predictions",
            title="Your trained network predicts what the kernel predicts",
            question="Does your network predict what theory says?",
            headline="your networks predict what theory says",
            statement="On test points, f_T agrees with the linearized model after the same steps.",
            source=source,
            kind="consequence",
            quantity="own_prediction_gap",
            label="‖f_T − f_T^lin‖ / ‖f_T^lin − f_0‖ on test points",
            threshold=linearized,
            direction="below",
            criterion=f"the difference is below {linearized:.0%} of what training changed",
            prediction="vanishes at infinite width",
            optional=True,
        ),
    ]


def own_training_figures() -> list[CurveFigure]:
    """The loss of the user's training beside the kernel's prediction."""
    return [
        CurveFigure(
            key="own_curves",
            title="Your training: predicted and measured",
            caption="Training loss relative to its start; median and range over seeds. Dashed: the linearized "
            "model under the same steps on the same batches, where these determine it.",
            x_label="step",
            y_label="L / L₀",
            measured="own_loss",
            predicted="own_loss_predicted",
        )
    ]
