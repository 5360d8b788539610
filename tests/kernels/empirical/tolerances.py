"""How close is equal, as the largest error over the largest entry."""

EXACT_F64 = 1e-10  # two exact algorithms in double precision
EXACT_F32 = 1e-4  # and in single precision
