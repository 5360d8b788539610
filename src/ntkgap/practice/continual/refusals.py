"""What ``train_tasks`` refuses before it starts: streams, methods and stops that do not go together."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from ntkgap.data import TaskStream
from ntkgap.errors import StudyError
from ntkgap.practice.continual.method import Joint, Method, Plain
from ntkgap.practice.continual.orthogonal_gradients import OGD
from ntkgap.practice.continual.stopping import KernelTime
from ntkgap.practice.training.losses import Loss, OwnLoss
from ntkgap.practice.training.optimizer_choice import is_adaptive
from ntkgap.practice.training.own_fit import refuse_beside_fit


def check_streams(networks: object, streams: object) -> list[TaskStream]:
    """One stream a network.

    Raises:
        StudyError: if there are other numbers of them, they use other outputs, or are of another precision.
    """
    if not isinstance(networks, Sequence | nn.ModuleList) or not all(isinstance(n, nn.Module) for n in networks):
        raise StudyError(
            f"networks must be several: give a list of networks, [network] if there is only one; "
            f"got {_short(networks)}"
        )
    every = [streams] * len(networks) if isinstance(streams, TaskStream) else streams
    if not isinstance(every, Sequence) or not all(isinstance(stream, TaskStream) for stream in every):
        raise StudyError(
            f"streams must be a TaskStream, as load_stream and stream_of make them, or a list of them, one a "
            f"network; got {_short(streams)}"
        )
    if not networks or len(every) != len(networks):
        raise StudyError(
            f"there are {len(networks)} networks and {len(every)} streams; give one stream a network, or one "
            f"for all"
        )
    if any([t.columns for t in s.tasks] != [t.columns for t in every[0].tasks] for s in every):
        raise StudyError("streams that are learned together must use the same outputs for the same tasks")
    _match_dtypes(list(networks), every)
    return list(every)


def check_kinds(
    stop: object, method: object, optimizer: Any, schedule: object, loss: Loss, stream: TaskStream
) -> None:
    """Refuse what is no stop or method, and methods that the optimizer or the loss takes the meaning from.

    Raises:
        StudyError: naming what does not go together.
    """
    if isinstance(stop, type) or not callable(getattr(stop, "limit", None)):
        raise StudyError(
            f"stop must be Steps, Epochs, UntilAccuracy or KernelTime, such as Steps(100); got {stop!r}"
        )
    if method is not None and not isinstance(method, Method):
        raise StudyError(
            f"method must be Joint(), OGD(), PCAOGD(), EWC(1.0) or Replay(10), or left out; got {method!r}"
        )
    if isinstance(method, OGD) and is_adaptive(optimizer):
        raise StudyError(
            "Adam bends the directions of orthogonal gradients, and so do its relatives; use 'gd' or 'sgd' with "
            "OGD "
            "and PCAOGD"
        )
    if isinstance(stop, KernelTime) and is_adaptive(optimizer):
        raise StudyError(
            "Adam does not follow gradient flow, so that KernelTime has no meaning for it; use 'gd' or 'sgd', or "
            "stop after Steps, Epochs or UntilAccuracy"
        )
    if isinstance(stop, KernelTime) and (not isinstance(optimizer, str) or schedule is not None):
        raise StudyError(
            "KernelTime counts steps of 'gd' and 'sgd' with a learning rate that stays; use these, or stop after "
            "Steps, Epochs or UntilAccuracy"
        )
    if isinstance(method, Joint) and isinstance(loss, OwnLoss) and not _one_head(stream):
        raise StudyError(
            f"tasks with outputs of their own have no joint loss={loss.name}; use 'squared' or 'cross_entropy' "
            f"with "
            "Joint()"
        )


def check_fit(method: object, streams: Sequence[TaskStream], **settings: object) -> None:
    """Refuse what a training function would not see.

    Raises:
        StudyError: naming it.
    """
    refuse_beside_fit(**settings)
    if method is not None and not isinstance(method, Plain | Joint):
        raise StudyError(
            f"fit= trains in its own way and knows nothing of method={method!r}; leave out one or the other"
        )
    if not _one_head(streams[0]):
        raise StudyError(
            "fit= is given a network and a data set of one task, which does not say that tasks have outputs of "
            "their "
            "own; use a stream whose tasks share their outputs"
        )


def _one_head(stream: TaskStream) -> bool:
    return len({tuple(task.columns) for task in stream.tasks}) == 1


def _match_dtypes(networks: Sequence[nn.Module], streams: Sequence[TaskStream]) -> None:
    """Refuse networks of another precision than their streams: torch would say so in words of its own."""
    own = {p.dtype for p in networks[0].parameters()}
    for stream in streams:
        for task in stream.tasks:
            for x in (task.train.x, task.test.x):
                if own and x.dtype not in own:
                    here = min(own, key=str)
                    raise StudyError(
                        f"the networks compute in {here}, but task {task.name!r} of the stream {stream.name!r} is "
                        f"in {x.dtype}; give stream.to({here}), or networks of the stream's precision"
                    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
