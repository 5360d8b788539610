"""The largest change of the Jacobian in a ball of parameters, found by search: a lower bound.

How it works. For a displacement δ = θ − θ₀ let σ be the largest singular value of ΔJ = J(θ₀ + δ) − J(θ₀), with
the pair (u, v). Its gradient is that of uᵀJ(θ)v at fixed u and v (``landscape``); ``ascent`` goes along it within
the ball. Where nonlinearities have kinks this gradient misses the activations that flip: it is then taken of a
smoothed network (``RoundedKinks``), and for the shallow network activations are flipped outright, the cheapest
first (``flips``). Wherever directions come from, the value is always that of the network itself.
"""

from ntkgap.practice.optimizers.jacobian_search.search import JacobianSearch, search_jacobian_change

__all__ = ["JacobianSearch", "search_jacobian_change"]
