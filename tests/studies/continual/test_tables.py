"""Tables of the continual study: forgetting predicted and observed at every width."""

import copy
import math
from dataclasses import replace
from statistics import median

import pytest

import ntkgap as ng
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.continual.show import tables
from tests.here import Here
from tests.studies.continual.test_prediction import TINY

WIDTHS = [4, 8, 16]
BRIEF = ["brief: observed", "brief: by infinite width", "brief: by K(θ₀)", "brief: by K at each task's start"]
LONG = ["long: observed", "long: by infinite width", "long: by K(θ₀)", "long: by K at each task's start"]
WITHOUT_END = ["without end: by infinite width", "without end: by K(θ₀)"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    kernels = {"kernels": ["infinite", "initial", "task_start"], "widths": WIDTHS}
    study = ng.ContinualStudy.build({"seeds": [0, 1, 2], "problems": [{**copy.deepcopy(TINY), **kernels}]})
    return measured_cells(ng.run(study, tmp_path_factory.mktemp("store"), engine=Here(), progress=False))["tiny"]


def entries(cells):
    """By width and heading."""
    title = "Forgetting predicted and observed, width by width: tiny"
    (table,) = (t for t in tables({"tiny": cells}, []) if t.title == title)
    return {row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows}


def with_scalars(cell, change):
    return replace(cell, scalars=change(cell.scalars))


def test_every_width_has_a_row_of_medians_over_its_seeds(measured):
    found = entries(measured)
    assert list(found) == [f"width {width}" for width in WIDTHS]
    assert list(found["width 4"]) == [*BRIEF, *LONG, *WITHOUT_END]
    names = {
        "long: observed": "forgetting_long",
        "brief: by infinite width": "forgetting_infinite_short",
        "long: by K at each task's start": "forgetting_task_start_long",
        "without end: by K(θ₀)": "forgetting_initial_converged",
    }
    for width in WIDTHS:
        for heading, name in names.items():
            values = [100 * c.scalars[name] for c in measured if c.width == width]
            assert len(values) == 3
            shown = found[f"width {width}"][heading].split(" [")[0].replace("∞", "inf")  # a kernel has diverged
            assert float(shown) == pytest.approx(median(values), abs=0.06)  # one decimal is shown


def test_kernels_that_no_cell_has_asked_for_have_no_column(measured):
    cells = [
        with_scalars(c, lambda s: {k: v for k, v in s.items() if "initial" not in k and "task_start" not in k})
        for c in measured
    ]
    headings = list(entries(cells)["width 8"])
    assert headings == [*BRIEF[:2], *LONG[:2], WITHOUT_END[0]]


def test_a_width_whose_cells_lack_a_kernel_has_a_dash_and_one_that_diverges_infinity(measured):
    def lacking(scalars):
        return {k: v for k, v in scalars.items() if k != "forgetting_initial_long"}

    def diverging(scalars):
        return {**scalars, "forgetting_initial_long": math.inf}

    changes = {4: lacking, 8: diverging, 16: dict}
    found = entries([with_scalars(c, changes[c.width]) for c in measured])
    column = [found[f"width {width}"]["long: by K(θ₀)"] for width in WIDTHS]
    assert column[:2] == ["–", "∞"]
    assert math.isfinite(float(column[2].split(" [")[0]))
