"""Settings of torch around a call that must not change its numbers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def neutral() -> Iterator[None]:
    """Leave inference mode and autocast, whoever has entered them; the grad mode stays as it is.

    Products of float32 are taken in float32: TF32 and bfloat16 are off inside, and afterwards as they were.
    Those switches are the process's: other threads that compute meanwhile do so in float32, too.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            grad = torch.is_grad_enabled()
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.set_grad_enabled(grad))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        for owner, name, strict in _switches():
            if (was := getattr(owner, name)) not in (strict, "none"):
                setattr(owner, name, strict)
                stack.callback(setattr, owner, name, was)
        yield


def _switches() -> Iterator[tuple[Any, str, Any]]:
    """What makes products coarser than their type, and the value with which it does not."""
    backends = torch.backends
    new = hasattr(backends.mkldnn, "matmul")  # of torch 2.9
    if new:
        for owner in (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn):  # type: ignore[attr-defined]
            yield owner, "fp32_precision", "ieee"
    if not torch.cuda.is_initialized():
        return
    for kind in ("fp16", "bf16"):
        yield backends.cuda.matmul, f"allow_{kind}_reduced_precision_reduction", False
    if not new:
        yield backends.cuda.matmul, "allow_tf32", False
        yield backends.cudnn, "allow_tf32", False
        return
    for owner in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):  # type: ignore[attr-defined]
        yield owner, "fp32_precision", "ieee"
