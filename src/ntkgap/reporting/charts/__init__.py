"""Charts of the page: what was measured as panels of series, and these as Vega-Lite specifications."""

from ntkgap.reporting.charts.panel import Panel, Series

__all__ = ["Panel", "Series"]
