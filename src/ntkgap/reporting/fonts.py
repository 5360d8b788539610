"""The font of the figures, cut down once to the characters that figures use.

A PDF embeds, of each font, the characters in it, so that its text can be selected and edited. To pick them out of
all of DejaVu Sans takes matplotlib longer than to draw the figure; out of a hundredth of it, no time worth naming.
"""

import functools
import tempfile
from pathlib import Path

from fontTools import subset
from matplotlib import font_manager

FAMILY = "ntkgap DejaVu Sans"

# Latin with western accents, combining accents, Greek, punctuation, super- and subscripts, arrows, operators.
_BLOCKS = (
    range(0x20, 0x100),
    range(0x300, 0x310),
    range(0x391, 0x3CA),
    range(0x2009, 0x2095),
    range(0x2190, 0x2194),
    range(0x2200, 0x2270),
)
_FAMILY_NAME, _WHOLE_NAME = 1, 4  # of OpenType's table of names


@functools.cache
def font_families() -> list[str]:
    """Families for matplotlib's ``font.family``: the small font, then the whole one for any other character."""
    folder = _folder()
    for weight in ("normal", "bold"):
        properties = font_manager.FontProperties(family="DejaVu Sans", weight=weight)
        path = Path(folder.name) / f"{weight}.ttf"
        _cut(font_manager.findfont(properties), path)
        font_manager.fontManager.addfont(path)
    return [FAMILY, "DejaVu Sans"]


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where the small fonts are, as long as the process lives."""
    return tempfile.TemporaryDirectory(prefix="ntkgap-fonts-", ignore_cleanup_errors=True)


def _cut(source: str, path: Path) -> None:
    """Write the characters of a font that are in the blocks to another file, as a family of its own."""
    options = subset.Options(glyph_names=True, recommended_glyphs=True, hinting=False, legacy_kern=True)
    options.layout_features = ["kern", "mark"]
    options.drop_tables += ["FFTM"]  # of the font's editor
    cut = subset.Subsetter(options)
    cut.populate(unicodes=[code for block in _BLOCKS for code in block])
    with subset.load_font(source, options) as font:
        cut.subset(font)
        for record in font["name"].names:
            if record.nameID in (_FAMILY_NAME, _WHOLE_NAME):
                record.string = FAMILY
        font.save(path)
