"""Between which bounds the noise is sought that evidence is to tell."""

# No noise is sought outside these fractions of the mean square of the targets: what interpolates would say that
# there is none, and then be sure of everything it has not seen.
NOISE_BOUNDS = (1e-4, 1.0)
