"""What is hoped of the uncertainty of kernels for classes, as claims that a measurement can refute."""

from ntkgap.studies.claim import Claim

DAXBERGER = "Daxberger et al. 2021, Laplace Redux, section 4"
WENGER = "Wenger, Dangel, Kristiadi 2023, on uncertainty quantification"

# What counts as worse: nats an example, and expected calibration error.
NLL_MARGIN, ECE_MARGIN = 0.1, 0.03

CAVEAT = (
    "One data set; the prior precision is that of the greatest evidence, probabilities by the probit formula. "
    "Other methods stand in the table."
)


def claims() -> list[Claim]:
    """The claims about classifiers."""
    return [*_beside_ensembles(), _beside_its_network()]


def _beside_ensembles() -> list[Claim]:
    found = []
    for name, what, plain, headline, source in (
        ("class_laplace_evidence", "Laplace", "Laplace", "Laplace is as good as an ensemble", DAXBERGER),
        (
            "class_ntk_gp_evidence",
            "The NTK-GP",
            "one Gaussian process",
            "one Gaussian process is as good as an ensemble",
            WENGER,
        ),
    ):
        found += [
            Claim(
                key=f"{name}_nll",
                title=f"{what} gives classes as good probabilities as the deep ensemble",
                question=f"Is {plain} as good as an ensemble?",
                headline=headline,
                statement=f"{what}: the negative log probability of test classes is no larger.",
                source=source,
                kind="payoff",
                quantity=f"{name}_nll_excess",
                label="NLL − NLL of the deep ensemble, nats",
                threshold=NLL_MARGIN,
                direction="below",
                criterion=f"it is larger by less than {NLL_MARGIN:g} nats an example",
                prediction="none: no theorem ranks the two",
                caveat=CAVEAT,
                log_scale=False,
            ),
            Claim(
                key=f"{name}_ece",
                title=f"{what} is as well calibrated on classes as the deep ensemble",
                question=f"Is {plain} as well calibrated on classes as an ensemble?",
                statement=f"{what}: the expected calibration error is no larger.",
                source=source,
                kind="payoff",
                quantity=f"{name}_ece_excess",
                label="ECE − ECE of the deep ensemble",
                threshold=ECE_MARGIN,
                direction="below",
                criterion=f"it is larger by less than {ECE_MARGIN:g}",
                prediction="none: no theorem ranks the two",
                caveat=CAVEAT + " Chance adds to both errors alike: about half a root of bins over examples.",
                log_scale=False,
            ),
        ]
    return found


def _beside_its_network() -> Claim:
    return Claim(
        key="class_laplace_improves",
        title="Laplace improves on the probabilities of its own network",
        question="Does Laplace improve on its network alone?",
        statement="The negative log probability of test classes is smaller than that of the network alone.",
        source=DAXBERGER,
        kind="payoff",
        quantity="class_laplace_evidence_nll_ratio",
        label="NLL / NLL of the network",
        threshold=1.0,
        direction="below",
        criterion="the ratio is below 1",
        prediction="none: no theorem says so",
        caveat=CAVEAT,
        log_scale=False,
    )
