"""Results of studies as one reads them in Python."""

from ntkgap.results.comparing import compare_runs
from ntkgap.results.merging import merge_runs
from ntkgap.results.runs import Runs, decide, run

__all__ = ["Runs", "compare_runs", "decide", "merge_runs", "run"]
