import gc
import re
import warnings

import pytest
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.ft2font import FT2Font

from ntkgap.reporting.fonts import FAMILY, font_families
from ntkgap.reporting.style import style

TEXT = "‖K(θ₀) − Θ‖ ∝ m^(−½), √λ_min ≥ η·10⁻⁵ … AVAT, Bézout: L\u0302_t"


def font(family: str, weight: str) -> FT2Font:
    properties = font_manager.FontProperties(family=family, weight=weight)
    return FT2Font(font_manager.findfont(properties, fallback_to_default=False))


@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_the_small_font_draws_as_the_whole_one(weight):
    assert font_families() == [FAMILY, "DejaVu Sans"]
    small, whole = font(FAMILY, weight), font("DejaVu Sans", weight)
    assert small.num_glyphs < whole.num_glyphs / 8
    assert {ord(character) for character in TEXT} <= set(small.get_charmap())
    for text in (TEXT, *TEXT.replace("\u0302", "")):
        for f in (small, whole):
            f.set_text(text)
        assert small.get_width_height() == whole.get_width_height()


def test_other_characters_come_from_the_whole_font(tmp_path, recwarn):
    with style():
        figure = plt.figure()
        figure.text(0.1, 0.5, "plain and Жук")
        figure.savefig(tmp_path / "figure.pdf")
        plt.close(figure)
    assert not recwarn.list  # of glyphs that are missing
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert len(set(re.findall(rb"/Subtype /CIDFontType2", pdf))) == 1  # TrueType, no outlines drawn by procedures
    assert b"/Type3" not in pdf


def test_no_font_is_left_open():
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        font_families.__wrapped__()
        gc.collect()
    assert not caught
