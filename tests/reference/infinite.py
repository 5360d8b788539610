"""Kernels of infinitely wide ReLU networks by the arc-cosine recursion, one pair of inputs at a time."""

import math

import torch


def relu_kernels(x1, x2, depth, weight_std, bias_std):
    """(NTK, NNGP) of ``depth`` hidden ReLU layers in NTK parametrization, [n1, n2] each, float64.

    Cho, Saul 2009 for the expectations; the recursion of Jacot, Gabriel, Hongler 2018.
    """
    ntk, nngp = (torch.zeros(len(x1), len(x2), dtype=torch.float64) for _ in range(2))
    for i, a in enumerate(x1.double()):
        for j, b in enumerate(x2.double()):
            same = torch.equal(a, b)
            ntk[i, j], nngp[i, j] = _pair(a.tolist(), b.tolist(), same, depth, weight_std**2, bias_std**2)
    return ntk, nngp


def _pair(a, b, same, depth, weight, bias):
    def dot(u, v):
        return weight * math.fsum(p * q for p, q in zip(u, v, strict=True)) / len(u) + bias

    first, second, covariance = dot(a, a), dot(b, b), dot(a, b)
    tangent = covariance
    for _ in range(depth):
        size = math.sqrt(first * second)
        angle = 0.0 if same else math.acos(max(-1.0, min(1.0, covariance / size)))
        product = size * (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)
        derivative = (math.pi - angle) / (2 * math.pi)
        first, second = weight * first / 2 + bias, weight * second / 2 + bias
        covariance = weight * product + bias
        tangent = covariance + weight * derivative * tangent
    return tangent, covariance
