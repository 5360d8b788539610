"""Curves of several seeds as one curve with a range."""

import numpy as np


def seed_range(curves: list[list[float]], positive: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least, median and largest value over seeds at every step; NaN where no seed got so far."""
    table = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(table, curves, strict=True):
        row[: len(curve)] = curve
    table[~np.isfinite(table) | (positive & (table <= 0))] = np.nan
    drawable = ~np.isnan(table).all(axis=0)
    summary = np.full((3, table.shape[1]), np.nan)
    # Each by itself: numpy's quantiles of tables with gaps take a hundred times longer.
    summary[0, drawable] = np.nanmin(table[:, drawable], axis=0)
    summary[1, drawable] = np.nanmedian(table[:, drawable], axis=0)
    summary[2, drawable] = np.nanmax(table[:, drawable], axis=0)
    return summary[0], summary[1], summary[2]
