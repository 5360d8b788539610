"""Does neural tangent kernel theory describe your network?

``ntkgap`` computes what the kernel regime predicts, measures what the finite network does, and puts the two
side by side over width, with a verdict for each promise of the theory.
"""

from ntkgap.errors import NtkgapError
from ntkgap.kernels.empirical import empirical_ntk
from ntkgap.models import MLP, NTKLinear, ShallowNet

__version__ = "0.1.0.dev0"

__all__ = ["MLP", "NTKLinear", "NtkgapError", "ShallowNet", "__version__", "empirical_ntk"]
