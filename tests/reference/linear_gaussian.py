"""Bayesian linear regression ỹ = J w + ε in the space of the P weights: dense, float64, obviously right."""

import math

import torch


def precision(features, prior_precision, noise_variance):
    """Of the weights given the data, δI + JᵀJ/σ², [P, P]."""
    eye = torch.eye(features.shape[1], dtype=torch.float64)
    return prior_precision * eye + features.T @ features / noise_variance


def posterior(features, residual, prior_precision, noise_variance):
    """Mean [P] and covariance [P, P] of the weights."""
    covariance = torch.linalg.inv(precision(features, prior_precision, noise_variance))
    return covariance @ features.T @ residual / noise_variance, covariance


def log_evidence(features, residual, prior_precision, noise_variance):
    """log ∫ N(ỹ; Jw, σ²I) N(w; 0, I/δ) dw by completing the square in w."""
    r, p = features.shape
    mean, _ = posterior(features, residual, prior_precision, noise_variance)
    misfit = (residual - features @ mean).square().sum() / noise_variance + prior_precision * mean.square().sum()
    normalizer = r * math.log(2 * math.pi * noise_variance) - p * math.log(prior_precision)
    return float(-0.5 * (misfit + normalizer + torch.logdet(precision(features, prior_precision, noise_variance))))


def log_marginal(features, residual, prior_precision, noise_variance):
    """log N(ỹ; 0, JJᵀ/δ + σ²I), by torch's own density."""
    eye = torch.eye(len(features), dtype=torch.float64)
    covariance = features @ features.T / prior_precision + noise_variance * eye
    normal = torch.distributions.MultivariateNormal(torch.zeros_like(residual), covariance)
    return float(normal.log_prob(residual))
