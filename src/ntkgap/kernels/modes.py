"""Modes of torch that a caller may be in, and that must not change what is computed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def neutral() -> Iterator[None]:
    """Compute as outside of all modes: without autocast on any device, with ordinary tensors in inference mode.

    Autocast would round products to 16 bits; what is made in inference mode can neither be differentiated nor
    filled by threads that are not in it. Whether gradients are recorded stays as it is.
    """
    recording = torch.is_grad_enabled()
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.set_grad_enabled(recording))  # leaving inference mode switched it on
        for kind in ("cpu", "cuda", "mps", "xpu"):
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
