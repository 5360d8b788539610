"""Draws the README's picture: the first screen of a report, in Chromium.

``make run`` and then ``python docs/images/first_screen.py runs/quick/report.html`` rewrites ``report.png``.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE.parents[1]), str(HERE.parent / "results")]

from small import shrink  # noqa: E402
from tests.browser import Browser  # noqa: E402

WIDTH, HEIGHT = 1300, 900


def main(page: Path) -> None:
    """Write the picture."""
    browser, picture = Browser(), HERE / "report.png"
    try:
        browser.open(page, WIDTH, HEIGHT)
        height = browser.run("document.getElementById('first').getBoundingClientRect().bottom")
        browser.picture(picture, clip={"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1})
    finally:
        browser.close()
    shrink(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
