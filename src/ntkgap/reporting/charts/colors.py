"""Colors of series, told apart by readers with any color vision, on light and on dark ground.

``@ink`` and ``@soft`` are the page's colors of text: the page puts them in, as it is light or dark.
"""

INK, SOFT = "@ink", "@soft"

# Okabe, Ito 2008; the yellow darkened for paper.
MEASURED, THEORY, LIMIT = "#0072b2", "#d55e00", INK
METHODS = (INK, "#0072b2", "#56b4e9", "#d55e00", "#cc79a7", "#e69f00", "#8c6d00", "#009e73")
REFERENCES = ("#d55e00", "#009e73", "#cc79a7", "#8c6d00")
BANDS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7")

# Of widths, narrow to wide: lightness falls along the list, so the order is seen without color.
_ORDERED = ("#eaa43c", "#e88a4b", "#e2745e", "#d5637a", "#c4548f", "#a84fa3", "#8550b1", "#5b4db7")


def ordered(n: int) -> list[str]:
    """So many colors for things with an order."""
    last = len(_ORDERED) - 1
    return [_ORDERED[round(i * last / max(n - 1, 1))] for i in range(n)]
