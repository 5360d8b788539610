"""Keys of claims and figures that an earlier version called otherwise: its files and presets are read."""

import warnings

OLD_KEYS = {
    "linearised_twin": "linearized_model",
    "twin_generalises": "linearized_generalizes",
    "kernel_start_generalises": "kernel_start_generalizes",
    "kernel_end_generalises": "kernel_end_generalizes",
    "tasks_foretold": "tasks_predicted",
    "forgetting_foretold": "forgetting_predicted",
    "kernel_still_long": "kernel_constant_long",
    "race_steps": "optimizers_steps",
    "race_seconds": "optimizers_seconds",
    "race_test": "optimizers_test",
    **{
        f"{kernel}_foretells_{when}": f"{kernel}_predicts_{when}"
        for kernel in ("infinite", "initial", "task_start")
        for when in ("short", "long")
    },
}


def present_key(key: str) -> str:
    """What a claim or a figure is called now."""
    return OLD_KEYS.get(key, key)


def asked_key(key: str) -> str:
    """The same of a key that a user asks for: an old one warns."""
    now = present_key(key)
    if now != key:
        warnings.warn(f"{key!r} is now {now!r}; the old name will go", DeprecationWarning, stacklevel=3)
    return now
