"""Every tolerance of the test suite, with its reason; a test that needs another one has a bug to find first."""

# float64 results of two different but exact formulas: accumulated rounding only.
EXACT = 1e-10

# Iterated maps (tens of training steps) in float64: rounding grows with the steps.
ITERATED = 1e-8

# float32 arithmetic compared with float64.
SINGLE = 1e-4

# Spectral norms obtained by subtracting Gram matrices in float64: √(n ε) relative to ‖J‖ (jacobian_change).
CANCELLING = 1e-6

# Gradient flow integrated numerically for a long time, with a relative error of 1e-10 a step.
FLOW = 1e-6

# Kernels computed in float64 and returned in float32, relative to √(K(x, x) K(x', x')): rounding, of angles too.
ROUNDED = 1e-6

# A network of width 512, trained a little, beside its kernel's prediction: relative to what training changed.
FOLLOWS = 0.1
