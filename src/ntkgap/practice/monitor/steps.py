"""At which steps to look."""

from ntkgap.practice.checks import check_count


def equal_ratio_steps(total_steps: int, observations: int = 8) -> list[int]:
    """Steps 1 … total in equal ratios, rounded: most of what changes a kernel happens early.

    Args:
        total_steps: number of the last step.
        observations: how many; fewer are left where the first steps would be the same.

    Raises:
        StudyError: if a number is not a positive integer.
    """
    check_count("total_steps", total_steps)
    check_count("observations", observations)
    if observations == 1:
        return [int(total_steps)]
    exponents = (i / (observations - 1) for i in range(observations))
    return sorted({round(total_steps**e) for e in exponents})


def is_power_of_two(step: int) -> bool:
    """Steps 1, 2, 4, 8, …: equal ratios where the end is not known."""
    return step > 0 and step & (step - 1) == 0
