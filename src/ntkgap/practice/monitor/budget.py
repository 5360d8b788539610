"""Time: what training takes, what looking takes, and what may still be looked at."""

from collections.abc import Iterable, Mapping
from time import perf_counter

from ntkgap.errors import StudyError

#: Seconds that a training counts at least: a look at a small network may take longer than its whole training.
SHORTEST = 20.0
#: Factor by which a part may take longer than the last time.
MARGIN = 1.1


class Budget:
    """Keeps the time of looking below a fraction of the time of training.

    Training is what passes between the end of one look and the beginning of the next. Where the number of steps is
    known, the fraction is of the whole training, predicted from the steps so far: what a complete last observation
    takes is set aside if that is possible, and the others are given equal fractions of the rest. Else the fraction
    is of the time that has passed. A training counts as 20 seconds at least.

    Args:
        fraction: 0.05 for five per cent; None for no limit.

    Attributes:
        training: seconds.
        spent: seconds.
        costs: seconds of each part when it was last done.
    """

    def __init__(self, fraction: float | None) -> None:
        number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
        if fraction is not None and not (number and 0 <= fraction < float("inf")):
            raise StudyError(
                f"budget must be a fraction of the training time such as 0.05, or None, got {fraction!r}"
            )
        self.fraction = fraction
        self.training = self.spent = 0.0
        self.costs: dict[str, float] = {}
        self._invested: dict[str, float] = {}
        self._plan: tuple[int, int] | None = None
        self._done = self._step = 0
        self._since = perf_counter()

    def plan(self, total_steps: int, observations: int) -> None:
        """Say how long training will be, and how often it will be looked at."""
        self._plan = total_steps, observations

    def enter(self, step: int) -> None:
        """A look begins after this step."""
        now = perf_counter()
        self.training += now - self._since
        self._since, self._step = now, step

    def leave(self) -> None:
        """A look ends."""
        now = perf_counter()
        self.spent += now - self._since
        self._since = now
        self._done += 1

    def restart(self) -> None:
        """Training begins now."""
        self._since = perf_counter()

    def measured(self, seconds: Mapping[str, float]) -> None:
        """What parts have taken."""
        self.costs |= seconds
        for part, taken in seconds.items():
            self._invested[part] = self._invested.get(part, 0.0) + taken

    def in_turn(self, parts: Iterable[str]) -> list[str]:
        """Parts in the order in which they are due, such that in the long run each is given the same time."""
        return sorted(parts, key=lambda part: self._invested.get(part, 0.0) + self.costs[part])

    def affords(self, parts: Iterable[str]) -> bool:
        """Whether these parts fit into what is left, beside what this look has taken so far."""
        if self.fraction is None:
            return True
        wanted = MARGIN * sum(self.costs[part] for part in parts)
        return self.spent + (perf_counter() - self._since) + wanted <= self._limit(self.fraction)

    def _limit(self, fraction: float) -> float:
        if self._plan is None or not self._step:
            return fraction * max(self.training, SHORTEST)
        total, observations = self._plan
        whole = fraction * max(self.training * max(total / self._step, 1.0), SHORTEST)
        if self._step >= total:
            return whole
        complete = MARGIN * sum(self.costs.values())
        free = whole - complete if complete <= whole else whole
        return free * max(min(1.0, (self._done + 1) / observations), self._step / total)
