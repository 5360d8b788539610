"""What infinite width promises about ensembles, as claims that a measurement can refute."""

from ntkgap.studies.claim import Claim
from ntkgap.studies.uncertainty.ensembles.comparison import COVARIANCE_TOLERANCE, MEAN_TOLERANCE

LEE = "Lee et al. 2019, section 2.3"
HE = "He, Lakshminarayanan, Teh 2020, section 3"
WENGER = "Wenger, Dangel, Kristiadi 2023, on uncertainty quantification"

# Nominal coverage is 95 %; what is below this is overconfident.
COVERED = 0.9

# What counts as worse: nats an observation, and fractions of the score.
NLL_MARGIN, CRPS_MARGIN = 0.1, 1.1


def claims() -> list[Claim]:
    """The claims about ensembles: they are draws from the predicted Gaussian, and what that is worth."""
    return [*_moments(), *_draws(), *_coverage(), *payoff()]


def _moments() -> list[Claim]:
    chance = "nothing is seen beyond chance, but with so few members a bias beyond the limit might not be seen"
    slow = (
        "Measured after the training named above the scorecard. Where the kernel is ill-conditioned the limit is "
        "approached slowly: directions that training has barely reached carry a covariance that wide networks "
        "still miss by tens of per cent. What chance adds with M members is subtracted (in squares, its mean), "
        "and no bias is put below what they can resolve: see the errors as they are, and their floor, below."
    )
    return [
        Claim(
            key="ensemble_mean",
            title="The ensemble's mean is that of infinite width",
            question="Is the mean of an ensemble the predicted one?",
            statement="On test points the mean over members is the infinite ensemble's at the same step.",
            source=LEE,
            kind="consequence",
            quantity="ensemble_mean_bias",
            label="bias of the mean, at most / size of a member",
            threshold=MEAN_TOLERANCE,
            direction="below",
            criterion=f"the bias is below {MEAN_TOLERANCE:.0%} of the root mean square size of a member",
            prediction="a bias of order 1/width (Dyer, Gur-Ari 2020)",
            exponent=-1.0,
            caveat=slow,
            inconclusive=chance,
        ),
        Claim(
            key="ensemble_covariance",
            title="The ensemble's covariance is that of infinite width",
            question="Do ensembles spread as predicted?",
            headline="ensembles spread as predicted",
            statement="On test points the covariance over members is the infinite ensemble's at the same step.",
            source=LEE,
            kind="consequence",
            quantity="ensemble_covariance_bias",
            label="bias of the covariance, at most / ‖V‖",
            threshold=COVARIANCE_TOLERANCE,
            direction="below",
            criterion=f"the relative bias is below {COVARIANCE_TOLERANCE:.0%}",
            prediction="a bias of order 1/width (Dyer, Gur-Ari 2020)",
            exponent=-1.0,
            caveat=slow,
            inconclusive=chance,
        ),
        Claim(
            key="ensemble_early",
            title="Early in training, mean and covariance are those of infinite width, too",
            question="Are mean and spread the predicted ones early in training?",
            statement="After the first observed steps mean and covariance are those of infinite width.",
            source=LEE,
            kind="consequence",
            quantity="ensemble_early",
            label="larger of both biases / its limit",
            threshold=1.0,
            direction="below",
            criterion=f"both biases are below their limits, {MEAN_TOLERANCE:.0%} and {COVARIANCE_TOLERANCE:.0%}",
            prediction="theory holds at every time, not only in the end",
            inconclusive=chance,
        ),
    ]


def _draws() -> list[Claim]:
    return [
        Claim(
            key="ensemble_draw",
            title="The members cannot be told from draws of the predicted Gaussian",
            question="Are the members like draws of the predicted Gaussian?",
            statement="At every observed step the Gaussian of the members' moments is as near to the predicted "
            "one as that of so many draws is.",
            source=LEE,
            kind="consequence",
            quantity="ensemble_draw",
            label="W₂ / 95 % quantile of draws, largest over steps",
            threshold=1.0,
            direction="below",
            criterion="the largest Wasserstein distance over steps is below the 95 % quantile of that of draws",
            prediction="below 1 for 95 % of infinitely wide ensembles",
            caveat="A test: it can refute theory at this width, and the more members the finer it looks. Passing "
            "says that M members show no difference, not that there is none.",
        ),
        Claim(
            key="ensemble_z_score",
            title="The mean is right to within its own sampling error at every point",
            question="Is the mean right to within sampling error at every point?",
            statement="The z-scores √M(m̂ − m)/σ of the ensemble's mean have the size of draws'.",
            source=LEE,
            kind="consequence",
            quantity="ensemble_z_ratio",
            label="root mean square z / 95 % quantile of draws",
            threshold=1.0,
            direction="below",
            criterion="the root mean square over test points is below the 95 % quantile of that of draws",
            prediction="a root mean square of 1",
            caveat="The strictest of these claims: where members agree, beside the training points, a bias counts "
            "that is small against everything but their spread. It says nothing of how far intervals are off.",
        ),
    ]


def _coverage() -> list[Claim]:
    return [
        Claim(
            key=f"{name}_covers",
            title=f"Intervals of {what} have nearly nominal coverage",
            question=f"Do 95 % intervals of {what} contain what they should?",
            statement=f"At least {COVERED:.0%} of the test targets lie in the 95 % intervals of {what}.",
            source=source,
            kind="payoff",
            quantity=f"{name}_coverage",
            label="coverage of 95 % intervals",
            threshold=COVERED,
            direction="above",
            criterion=f"coverage is above {COVERED:.0%}; of k test points chance takes or gives about k^(−1/2)/5",
            prediction=prediction,
            caveat="Intervals that are too wide cover as well: see their width and scores in the table. The noise "
            "that is added to the function's spread is estimated: see the table's caption.",
            log_scale=False,
        )
        for name, what, source, prediction in (
            ("deep_ensemble", "the deep ensemble", WENGER, "none: the infinite ensemble is no posterior"),
            ("ntk_gp_evidence", "the NTK-GP (evidence)", HE, "95 % if the targets were drawn from the NTK-GP"),
        )
    ]


def payoff() -> list[Claim]:
    """Whether one model is as good as an ensemble, by densities and by CRPS."""
    found = []
    for name, what, plain, headline in (
        (
            "ntk_gp_evidence",
            "NTK-GP (evidence)",
            "one Gaussian process",
            "one Gaussian process is as good as an ensemble",
        ),
        ("laplace_evidence", "linearized Laplace (evidence)", "Laplace", "Laplace is as good as an ensemble"),
    ):
        found += [
            Claim(
                key=f"{name}_nll",
                title=f"Densities of the {what} are as good as the deep ensemble's",
                question=f"Is {plain} as good as an ensemble?",
                headline=headline,
                statement=f"The negative log density of test targets under the {what} is no larger.",
                source=WENGER,
                kind="payoff",
                quantity=f"{name}_nll_excess",
                label="NLL − NLL of the deep ensemble, nats",
                threshold=NLL_MARGIN,
                direction="below",
                criterion=f"it is larger by less than {NLL_MARGIN:g} nats an observation",
                prediction="none: no theorem ranks the two",
                caveat="One data set; prior precision and noise are those of the greatest evidence. The same "
                "at precision 1 stands in the table.",
                log_scale=False,
            ),
            Claim(
                key=f"{name}_crps",
                title=f"Predictions of the {what} are as sharp as the deep ensemble's",
                question=f"Is {plain} as sharp as an ensemble?",
                statement=f"The continuous ranked probability score of the {what} is no larger.",
                source=WENGER,
                kind="payoff",
                quantity=f"{name}_crps_ratio",
                label="CRPS / CRPS of the deep ensemble",
                threshold=CRPS_MARGIN,
                direction="below",
                criterion=f"it is larger by less than {CRPS_MARGIN - 1:.0%}",
                prediction="none: no theorem ranks the two",
                caveat="One data set; prior precision and noise are those of the greatest evidence. The same "
                "at precision 1 stands in the table.",
                log_scale=False,
            ),
        ]
    return found
