"""Regret of neural bandits with the full design matrix beside LinUCB, in games of thousands of rounds.

    python benchmarks/bandit_regret.py wheel_paper|wheel_released|mushroom|mnist
        [--rounds N] [--seeds 2] [--first-seed 0]

Mushroom and MNIST are read from $NTKGAP_DATA. All policies of a seed play the same rounds. Without a game nothing
is played: each takes minutes.
"""

import argparse
import time
from dataclasses import dataclass

import torch

import ntkgap as ng
from ntkgap.practice.bandits import (
    Environment,
    LinUCB,
    NeuralTS,
    NeuralUCB,
    Policy,
    RewardModel,
    RewardTraining,
    make_environment,
    play,
)


@dataclass(frozen=True)
class Game:
    """What is played, and how networks learn it.

    Attributes:
        data: name of the data set.
        options: of the data set.
        features: of the contexts.
        unit: of the rewards.
        rounds: T.
        width: of the network's hidden layer.
        training: of the network.
        ucb: λ, and the values of γ, of NeuralUCB.
        thompson: λ, and the values of ν, of NeuralTS.
        alphas: of LinUCB.
        precision: of LinUCB's prior.
    """

    data: str
    options: dict[str, object]
    features: str
    unit: float
    rounds: int
    width: int
    training: RewardTraining
    ucb: tuple[float, tuple[float, ...]]
    thompson: tuple[float, tuple[float, ...]]
    alphas: tuple[float, ...]
    precision: float = 1.0


WHEEL = RewardTraining(steps=100, learning_rate=1.0, every=50)
GAMES = {
    f"wheel_{variant}": Game(
        "wheel",
        {"delta": 0.5, "variant": variant},
        "lifted",
        50,
        5000,
        64,
        WHEEL,
        (1.0, (1.0,)),
        (1.0, (1.0,)),
        (0.1, 1.0),
    )
    for variant in ("paper", "released")
} | {
    "mushroom": Game(
        "mushroom",
        {},
        "unit_norm",
        5,
        4096,
        64,
        RewardTraining(steps=100, learning_rate=0.03, every=64, start="initial", optimizer="adam", batch_size=512),
        (0.1, (0.3, 1.0)),
        (0.1, (0.3, 1.0)),
        (1.0, 3.0, 10.0),
    ),
    "mnist": Game(
        "mnist",
        {"flatten": True},
        "unit_norm",
        1,
        4096,
        128,
        RewardTraining(steps=100, learning_rate=0.03, every=16, start="current", optimizer="adam", batch_size=64),
        (1e-3, (0.01,)),
        (1e-4, (1.0,)),
        (0.1, 0.3),
        0.1,
    ),
}


def report(name: str, environment: Environment, policy: Policy) -> None:
    start = time.perf_counter()
    run = play(environment, policy)
    print(f"  {name:24s} {run.relative_regret:.4f}  {time.perf_counter() - start:6.0f} s  {run.diverged or ''}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("game", nargs="?", choices=list(GAMES))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.game is None:
        print(f"name a game to play it: {', '.join(GAMES)}")
        return
    torch.set_num_threads(1)
    game = GAMES[arguments.game]
    rewards = arguments.game if game.data == "wheel" else {"mushroom": "mushroom", "mnist": "class"}[game.data]
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        data, _ = ng.load_data(game.data, arguments.rounds or game.rounds, 1, seed, **game.options)
        environment = make_environment(
            data, rewards, features=game.features, encoding="outputs", reward_unit=game.unit, seed=seed
        )
        print(f"{arguments.game}, {environment.rounds} rounds, seed {seed}: relative regret")

        def model(regularization: float, seed: int = seed, environment: Environment = environment) -> RewardModel:
            network = ng.MLP(
                environment.in_features,
                environment.out_features,
                game.width,
                1,
                weight_std=2**0.5,
                antisymmetric=True,
                generator=torch.Generator().manual_seed(seed),
            )
            generator = torch.Generator().manual_seed(seed)
            return RewardModel(network, game.training, regularization=regularization, generator=generator)

        precision, gammas = game.ucb
        for gamma in gammas:
            report(f"NeuralUCB, γ = {gamma:g}", environment, NeuralUCB(model(precision), gamma))
        precision, nus = game.thompson
        for nu in nus:
            draws = torch.Generator().manual_seed(seed)
            report(f"NeuralTS, ν = {nu:g}", environment, NeuralTS(model(precision), nu, generator=draws))
        for alpha in game.alphas:
            features = environment.contexts.shape[1]
            linear = LinUCB(environment.arms, features, alpha=alpha, precision=game.precision)
            report(f"LinUCB, α = {alpha:g}", environment, linear)


if __name__ == "__main__":
    main()
