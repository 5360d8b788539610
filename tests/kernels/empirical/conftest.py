import torch


def relative_error(got, expected):
    assert got.shape == expected.shape
    scale = expected.abs().max() if expected.numel() else torch.tensor(0.0)
    return float((got - expected).abs().max() / scale) if scale > 0 else float((got - expected).abs().max())
