"""What theory says of the kernel regime along axes other than the width."""

_RICH = "learns features at any width: its kernel moves however wide the network is"

AXIS_NOTES = {
    "model.depth": "Fluctuations of the kernel grow with depth over width (Hanin & Nica 2020): deeper networks "
    "need more width for the same closeness.",
    "data.n_train": "Theorems ask for a width that grows like a power of n (n⁴ in Zhang, Martens, Grosse 2019): "
    "at fixed width, more examples lead away from the kernel regime.",
    "gradient_descent.fraction_of_critical": "The constant kernel describes gradient descent below the critical "
    "step (Lee et al. 2019); above it, it predicts divergence, which a network may escape by changing its kernel.",
    "natural_gradient.learning_rate": "The constant kernel predicts (1 − η)² a step for any η; the theorem allows "
    "η ≤ (1 − 2C)/(1 + C)².",
    "model.alpha": "With large α training is lazy, its linearization error O(1/α), if the network starts at zero "
    "(Chizat, Oyallon, Bach 2019); 1/α² if it does so as the difference of two copies, whose first corrections "
    "cancel. Where it does not start at zero, its output there grows like α and has to be undone: once that "
    "outweighs the targets, a larger α makes nothing lazier.",
    "model.gamma0": f"γ0 → 0 is lazy, if the network starts at zero; one with γ0 = 1 {_RICH} (mean field).",
    "model.parametrization": "In standard and NTK parametrization wide networks approach their kernel limit; "
    f"in mean-field and μ parametrization a network {_RICH} (Yang & Hu 2021).",
    "model.antisymmetric": "The kernel at the start is the same, but there is no initial function to undo.",
}
