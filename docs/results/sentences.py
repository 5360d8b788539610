"""What guards the sentences of the pages, and chooses their words."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
from cells import PageError
from jinja2.utils import Namespace
from scipy.stats import mannwhitneyu

from ntkgap.studies.statistics import Interval, order_statistic_interval

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
}


def require(sentence: str, left: Any, sign: str, right: Any) -> None:
    """Let a sentence stand only if the data say so.

    Raises:
        PageError: naming the sentence and the numbers.
    """
    if not COMPARISONS[sign](left, right):
        raise PageError(
            f"the data do not say {sentence!r}: {left!r} {sign} {right!r} is false; rewrite the sentence"
        )


def whole_range(values: pd.Series) -> Interval:
    """The median with the least and the largest value."""
    return order_statistic_interval(list(values), 1)


def rank_sum(a: pd.Series, b: pd.Series) -> float:
    """p-value of the two-sided rank-sum test of Mann and Whitney."""
    return float(mannwhitneyu(a, b).pvalue)


def words(state: str, holds: str = "yes", fails: str = "no", inconclusive: str = "inconclusive") -> str:
    """What a verdict is in the words of a sentence."""
    return {"holds": holds, "fails": fails, "inconclusive": inconclusive}[state]


GLOBALS: dict[str, Any] = {
    "inf": math.inf,
    "namespace": Namespace,
    "rank_sum": rank_sum,
    "require": require,
    "whole_range": whole_range,
    "words": words,
}
