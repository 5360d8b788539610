"""Constants that are tried beyond those given, until the best of them lies inside."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from ntkgap.studies.uncertainty.bandits.claims import REGRET

Game = TypeVar("Game")


def widened(
    constants: Sequence[float],
    play: Callable[[float], Game],
    *,
    regret: Callable[[Game], float],
    widenings: int,
) -> dict[float, Game]:
    """Play with every constant given, and then with more of them while an edge is not clearly worse than the best.

    An edge is as good where its regret is at most 1.1 times the least one, the margin by which claims are judged:
    seeds differ, and what is barely inside for one of them is the edge for another. The next constant lies as far
    beyond the edge, as a ratio, as its neighbor lies inside. A single constant was chosen by hand: it has no
    neighbor, and nothing is added.

    Args:
        constants: to begin with, at least one, all positive.
        play: a game with a constant.
        regret: of a game; infinite if it diverged.
        widenings: most games more.

    Returns:
        The games by constant.
    """
    games = {constant: play(constant) for constant in constants}
    for _ in range(widenings if len(games) > 1 else 0):
        found = {constant: regret(game) for constant, game in games.items()}
        ordered = sorted(found)
        limit = (1 + REGRET) * min(found.values())
        edges = {ordered[0]: ordered[1], ordered[-1]: ordered[-2]}
        good = [edge for edge in edges if found[edge] <= limit < float("inf")]
        if not good:
            break
        edge = min(good, key=lambda constant: found[constant])
        beyond = float(f"{edge * edge / edges[edge]:.6g}")  # names of games have six digits
        games[beyond] = play(beyond)
    return games
