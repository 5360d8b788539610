"""Charts of the page: what was measured as panels of series, which the page's script draws."""

from ntkgap.reporting.charts.panel import Panel, Series

__all__ = ["Panel", "Series"]
