"""How much does my network forget, and does its kernel say so? Rotated digits, trained briefly and for long."""

import torch

import ntkgap as ng

STEPS = (3, 30, 300)


def build(width: int, seed: int) -> torch.nn.Module:
    """Put your own network here: anything that maps [n, 64] to [n, 10]."""
    generator = torch.Generator().manual_seed(seed)
    return ng.MLP(64, 10, width, depth=1, weight_std=2**0.5, antisymmetric=True, generator=generator)


def main() -> None:
    stream = ng.continual.load_stream(
        "rotated", "digits", n_train=40, n_test=100, tasks=3, angle=40, scaling="unit_norm", flatten=True
    )
    print("width  steps a task  forgotten  predicted by K(θ₀)")
    for width in (16, 128):
        networks = [build(width, seed) for seed in range(3)]
        predicted = [ng.continual.predict_tasks(net, stream, learning_rate=0.03, steps=STEPS) for net in networks]
        for i, steps in enumerate(STEPS):
            runs = ng.continual.train_tasks(networks, stream, learning_rate=0.03, stop=ng.continual.Steps(steps))
            seen = sum(ng.continual.AccuracyMatrix(scores).forgetting() for scores in runs.scores) / 3
            said = sum(prediction.matrix(i).forgetting() for prediction in predicted) / 3
            print(f"{width:5d}  {steps:12d}  {seen:9.3f}  {said:17.3f}")


if __name__ == "__main__":
    main()
