"""Makes pictures small: PNGs with a palette of 128 colors, which charts do not exceed to the eye.

``python docs/results/small.py PICTURE ...`` rewrites pictures in place.
"""

import sys
from pathlib import Path

from PIL import Image

COLORS = 128


def shrink(path: Path) -> None:
    """Rewrite a PNG with a palette, on white; one that has a palette stays as it is."""
    with Image.open(path) as picture:
        if picture.mode == "P":
            return
        layers = picture.convert("RGBA")
    flat = Image.new("RGB", layers.size, "white")
    flat.paste(layers, mask=layers.getchannel("A"))
    # The octree keeps the colors of small marks, of which Pillow's own choice makes one where they are alike.
    flat.quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        shrink(Path(name))
