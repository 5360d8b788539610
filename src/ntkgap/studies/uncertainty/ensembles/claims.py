"""What infinite width promises about ensembles, as claims that a measurement can refute."""

from ntkgap.studies.claim import Claim


def claims() -> list[Claim]:
    """The claims about ensembles."""
    return [
        Claim(
            key="ensemble_mean",
            title="The ensemble's mean is that of infinite width",
            statement="On test points the mean over members is the infinite ensemble's at the same step.",
            source="Lee et al. 2019, section 2.3",
            kind="consequence",
            quantity="ensemble_mean_error",
            label="‖m̂ − m‖ / size of a member",
            threshold=0.1,
            direction="below",
            criterion="the error is below 10 % of the size of a member",
            prediction="bias of order 1/width, above a floor of order M^(−1/2) that finitely many members leave",
        )
    ]
