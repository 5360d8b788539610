"""Kernels of networks, their spectra, and distances between them."""
