"""Random networks and trainings from two halves whose regime leaves no doubt: lazy and rich."""

import random


def clear_cut(number):
    """The half, and settings of ``diagnosed``: even numbers are lazy, odd ones rich.

    Lazy: antisymmetric start, α from 30 on, a step well within stability. Rich: γ0 from 1 on, trained for longer;
    where γ0 is above 3 the kernel may grow until the step is unstable, or the loss has hardly fallen yet.
    """
    chance = random.Random(number)
    half = "rich" if number % 2 else "lazy"
    model = {"depth": chance.choice([1, 1, 2]), "nonlinearity": chance.choice(["relu", "tanh", "erf", "gelu"])}
    if half == "lazy":
        model |= {"antisymmetric": True, "alpha": round(10 ** chance.uniform(1.5, 3), 1)}
        widths = sorted(chance.sample([32, 64, 128, 256], 2))
    else:
        model |= {"gamma0": round(10 ** chance.uniform(0, 0.7), 2), "antisymmetric": chance.random() < 0.3}
        widths = sorted(chance.sample([16, 32, 64, 128], 2))
    settings = {
        "model": model,
        "widths": widths,
        "n_train": chance.choice([12, 16, 24]),
        "fraction_of_critical": round(chance.uniform(0.05, 0.15), 3),
        "steps": 60 if half == "lazy" else 100,
    }
    return half, settings
