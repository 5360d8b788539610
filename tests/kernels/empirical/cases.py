"""Networks that exercise each rule, its options, and every way in which a parameter can be used."""

from tests.kernels.empirical.layer_cases import LAYERS
from tests.kernels.empirical.use_cases import USES

CASES = [*LAYERS, *USES]
