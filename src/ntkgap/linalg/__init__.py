"""Linear-Gaussian algebra: factors, eigenvalues, solves, evidence and posteriors, and what rounding does to them.

Everything here is given matrices, or operators that multiply vectors, and knows nothing of networks. ``matrices``
checks them, ``rounding`` says what their errors decide, ``solves`` and ``sequential_posterior`` factorize them, at
once or row by row; ``symmetric_operator`` knows them by products alone (``lanczos``, ``conjugate_gradients``).
"""

from ntkgap.linalg.class_evidence import ClassEvidence, PrecisionMaximum
from ntkgap.linalg.duplicates import describe_rows, duplicate_inputs, equal_rows, parallel_rows
from ntkgap.linalg.evidence import Evidence, EvidenceMaximum
from ntkgap.linalg.gaussian import Gaussian, gaussian_wasserstein
from ntkgap.linalg.lanczos import EigenvalueRange
from ntkgap.linalg.matrices import as_matrix
from ntkgap.linalg.sequential_posterior import SequentialPosterior
from ntkgap.linalg.solves import PositiveFactor, positive_factor
from ntkgap.linalg.spectrum import Spectrum, spectrum
from ntkgap.linalg.symmetric_operator import Estimate, SymmetricOperator

__all__ = [
    "ClassEvidence",
    "EigenvalueRange",
    "Estimate",
    "Evidence",
    "EvidenceMaximum",
    "Gaussian",
    "PositiveFactor",
    "PrecisionMaximum",
    "SequentialPosterior",
    "Spectrum",
    "SymmetricOperator",
    "as_matrix",
    "describe_rows",
    "duplicate_inputs",
    "equal_rows",
    "gaussian_wasserstein",
    "parallel_rows",
    "positive_factor",
    "spectrum",
]
