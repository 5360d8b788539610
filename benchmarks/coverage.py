"""How often intervals, trends, verdicts and extrapolated widths are right, in worlds whose truth is known.

Run: ``python benchmarks/coverage.py [--times 400]``; one table each, in about two minutes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.studies.worlds import (
    NOISE,
    bracket_rates,
    interval_rates,
    mixed_world,
    null_world,
    signed_rank_interval,
    trend_size,
)

from ntkgap.studies.looks import LOOKS, deciding_probability
from ntkgap.studies.statistics import median_interval, order_statistic_interval

EXACT_RANK = {5: 1, 6: 1, 7: 1, 8: 1, 9: 2, 12: 3, 20: 6}


def row(*cells: object) -> None:
    """Print one row of a table."""
    print("| " + " | ".join(f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def head(*names: str) -> None:
    """Print the head of a table."""
    row(*names)
    row(*["---"] * len(names))


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=400, help="of pages and brackets; 5 times that of intervals")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, times = np.random.default_rng(arguments.seed), arguments.times

    print("\n95 % intervals of the median: coverage by noise, and power at one standard deviation (normal)\n")
    head("seeds", "interval", *NOISE, "power")
    for n, k in EXACT_RANK.items():
        for name, interval in (
            ("exact order statistics", lambda x, k=k: order_statistic_interval(x, k)),
            ("between order statistics (ours)", median_interval),
            ("signed rank", signed_rank_interval),
        ):
            rates = [interval_rates(interval, n, noise, rng, 5 * times) for noise in NOISE]
            row(n, name, *(covered for covered, _ in rates), rates[0][1])

    print("\nTrends at p < 0.05 where there is none, by noise\n")
    head("seeds", *NOISE)
    for n in (5, 6, 9, 20):
        row(n, *(trend_size(n, noise, rng, 5 * times) for noise in NOISE))

    print("\n40 verdicts a page, every truth at its limit: wrong ones a page / pages with one that stands\n")
    head("seeds", "normal", "log-normal")
    for n in (5, 6, 9, 20):
        rates = [null_world(n, noise, rng, times) for noise in ("normal", "log-normal")]
        row(n, *(f"{wrong:.1f} / {spoilt:.1%}" for wrong, spoilt in rates))

    print(
        "\n40 verdicts a page, half of the truths off their limits: fraction of these that stands / fraction of "
        "those standing that is wrong\n"
    )
    head("seeds", "1 deviation off", "2", "4")
    for n in (5, 6, 9, 20):
        rates = [mixed_world(n, distance, rng, times // 4) for distance in (1.0, 2.0, 4.0)]
        row(n, *(f"{right:.0%} / {wrong:.1%}" for right, wrong in rates))

    print("\nLooks, exact: probability of deciding for one side, and mean number of seeds\n")
    head("looks", "at the limit", "one deviation off", "seeds there")
    for looks in (LOOKS, ((5, 1), (10, 2), (20, 6))):
        power, seeds = deciding_probability(float(norm.cdf(1)), looks)
        row(looks, deciding_probability(0.5, looks)[0], power, seeds)

    print("\nExtrapolated widths (theory −¼): how often one is named / how often its bracket is right\n")
    worlds = [(n, noise) for n in (5, 9, 20) for noise in (0.03, 0.1)]
    head("truth", "times the limit", *(f"{n} seeds, noise {noise:.0%}" for n, noise in worlds))
    for truth in ("straight", "steep", "bent", "flat", "floor", "late"):
        for ratio in (1.2, 1.5, 2.0):
            rates = [bracket_rates(truth, ratio, n, noise, rng, times) for n, noise in worlds]
            row(truth, ratio, *(f"{named:.0%} / {covered:.2f}" for named, covered in rates))


if __name__ == "__main__":
    main()
