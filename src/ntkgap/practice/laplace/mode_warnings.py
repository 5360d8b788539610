"""Warnings where a network is not at the mode of its posterior, for which linearized Laplace takes it."""

import warnings

from ntkgap.errors import AccuracyWarning

# Posterior standard deviations between the network's outputs and the most probable ones, above which it is said.
FAR = 1.0

# Squared length of the way to the mode in the metric of the posterior, over the number of effective parameters,
# above which the evidence of a classifier is said to count what would not be there.
SLACK = 0.5


def warn_of_slack(prior_precision: float, slack: float) -> None:
    """A precision that counts what would vanish at the mode; warned of where the caller's caller stands."""
    warnings.warn(
        f"prior_precision {prior_precision:.3g} is not to be trusted: on the way to the mode of the "
        f"posterior the parameters would move by {slack:.2g} times the effective ones (squared length in "
        f"the metric of the posterior, limit {SLACK:g}); train with weight decay, as online_laplace does, "
        "or center the prior on the network's start, prior_mean=",
        AccuracyWarning,
        stacklevel=3,
    )


def warn_of_distance(far: float, likelihood: str, ridge: float) -> None:
    """Predictions away from the mode; warned of where the caller of the public method stands."""
    loss = "squared" if likelihood == "gaussian" else "cross_entropy"
    warnings.warn(
        f"the network is not at the mode of its posterior with likelihood {likelihood!r}: on the "
        f"training set the most probable outputs are {far:.2g} posterior standard deviations away (root "
        f"mean square, limit {FAR:g}); train it longer on the loss {loss!r} with weight decay "
        f"{ridge:.3g}, choose prior_precision by fit_evidence(), or use linearized_mean",
        AccuracyWarning,
        stacklevel=4,
    )
