"""Fused functions written out in functions that can be differentiated twice, and in forward mode.

Attention, recurrent layers and some others are computed by torch in one piece each, whose backward pass has no
derivative. Within :class:`WrittenOut` they are made of small pieces instead. That is a mode of the thread that
enters it, where ``sdpa_kernel`` and ``backends.cudnn.flags`` change the whole process.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ntkgap.kernels.empirical.tracing import opened

_opened = cache(opened)


class WrittenOut(TorchFunctionMode):
    """Computes the same as torch, fused functions in small pieces; the fast paths of transformers are off too."""

    def __torch_function__(self, func: Callable, _types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            with self:
                return _opened(func)(*args, **kwargs)
        return _WRITTEN_OUT.get(func, func)(*args, **kwargs)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    if is_causal:
        attn_mask = query.new_ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.mT
    if attn_mask is None:
        return torch.dropout(scores.softmax(-1), dropout_p, True) @ value
    if attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    # Who sees nothing gets zero, as from the fused function; a softmax of nothing would be NaN.
    blind = (attn_mask == -torch.inf).all(-1, keepdim=True)
    weights = (scores + attn_mask.masked_fill(blind, 0.0)).softmax(-1)
    return torch.dropout(weights, dropout_p, True).masked_fill(blind, 0.0) @ value


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    return torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums and means; F.embedding_bag itself computes what is asked for otherwise."""
    if mode == "max" or scale_grad_by_freq:
        options = (scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset, padding_idx)
        return F.embedding_bag(input, weight, offsets, max_norm, norm_type, *options)
    entries = input.flatten()
    if offsets is None:  # bags of one size, one a row
        bags, bag = len(input), torch.arange(len(entries), device=input.device) // max(input.shape[1], 1)
    else:
        starts = offsets[:-1] if include_last_offset else offsets
        places = torch.arange(len(entries), device=input.device)
        bags, bag = len(starts), torch.searchsorted(starts.to(places.dtype), places, right=True) - 1
    rows = F.embedding(entries, weight, padding_idx, max_norm, norm_type)
    counted = torch.ones_like(entries, dtype=weight.dtype)
    if padding_idx is not None:
        counted = (entries != padding_idx).to(weight.dtype)
    shares = counted if per_sample_weights is None else counted * per_sample_weights.flatten()
    total = weight.new_zeros(bags, weight.shape[1]).index_add(0, bag, rows * shares[:, None])
    if mode == "sum":
        return total
    return total / weight.new_zeros(bags).index_add(0, bag, counted).clamp(min=1)[:, None]


def _recurrent(func: Callable) -> Callable:
    """The loop over time that torch decomposes a recurrent layer of cudnn into."""

    def looped(*args: Any) -> Any:
        if not args[0].is_cuda:
            return func(*args)  # made of small pieces, or twice differentiable as it is
        packed = isinstance(args[1], Tensor) and not args[1].is_floating_point()  # the sizes of the batches
        overloads = getattr(torch.ops.aten, func.__name__)
        return torch._decomp.decomposition_table[overloads.data if packed else overloads.input](*args)

    return looped


_WRITTEN_OUT: dict[Callable, Callable] = {
    F.scaled_dot_product_attention: _attention,
    torch._weight_norm: _weight_norm,
    torch.cdist: _cdist,
    F.embedding_bag: _embedding_bag,
    **{func: _recurrent(func) for func in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)},
}
