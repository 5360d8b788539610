"""Results of several machines, joined."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ntkgap.errors import StoreError
from ntkgap.results.runs import Runs
from ntkgap.sweep.merge import merge_stores


def merge_runs(stores: Sequence[str | Path], into: str | Path) -> Runs:
    """Join stores of one study, such as those of shards: every cell once, and nothing lost or overwritten.

    A cell that is done in one store and has failed in another, or was not computed, is done. All is compared
    before anything is written. Merging again goes on where a merge was interrupted, and adds what was computed
    since.

    Args:
        stores: directories; they are read alone.
        into: directory of the joined store; made if there is none, else it must be a store of the same study.

    Returns:
        All results in it.

    Raises:
        StoreError: if a store cannot be read, they are of different studies or versions, were filled by looks at
            different seeds, or hold different numbers of the same configuration (those read from a clock aside).

    Example:
        >>> study = ng.OptimizationStudy.preset("smoke", widths=[8], seeds=2)
        >>> for part in (1, 2):
        ...     _ = ng.run(study, f"runs/{part}", workers=1, progress=False, shard=(part, 2))
        >>> ng.merge_runs(["runs/1", "runs/2"], into="runs/all").counts()["pending"]
        0
    """
    if isinstance(stores, str | Path):
        raise StoreError(
            f"merge_runs takes a list of stores, got {str(stores)!r:.80}; write [{str(stores)!r:.80}]"
        )
    return Runs(merge_stores(stores, into, join_configurations))


def join_configurations(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """What two runs of a study were asked to do, as one run: all their problems, at all their widths and seeds.

    Where they ask for different things of a problem of the same name, the second has the last word, as if it had
    been run later in the same store.
    """
    joined = {**first, **second}
    if "seeds" in first and "seeds" in second:
        joined["seeds"] = [*first["seeds"], *(s for s in second["seeds"] if s not in first["seeds"])]
    problems = {problem["name"]: problem for problem in first.get("problems", [])}
    for problem in second.get("problems", []):
        before = problems.get(problem["name"], {})
        widths = {"widths": sorted({*before.get("widths", []), *problem["widths"]})} if "widths" in problem else {}
        problems[problem["name"]] = {**problem, **widths}
    return {**joined, "problems": list(problems.values())} if problems else joined
