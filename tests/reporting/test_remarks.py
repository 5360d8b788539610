from ntkgap.reporting.remarks import MAX_GROUPS, remarks, wording
from ntkgap.studies.measured import Measured


def cell(width, seed, notes, problem="p", variation="", diverged=False):
    where = {"problem": problem, "width": width, "seed": seed, "variation": variation}
    return Measured(where, {}, {}, notes, diverged, 0.0)


def test_remarks_that_differ_in_numbers_alone_are_one():
    rows = "training inputs coincide (rows 0 = 6), so K is singular at any width"
    cells = [
        cell(8, 0, ["λ_min = -1.37e-13 is below the noise floor 9.12e-11", rows]),
        cell(8, 1, ["λ_min = 2e-13 is below the noise floor 1e-10", rows]),
        cell(16, 0, ["λ_min = 1.0 is below the noise floor 2"], variation="model.alpha=10.0"),
        cell(32, 0, [rows], problem="q"),
        cell(32, 1, ["gradient descent: diverged at step 3"], diverged=True),
    ]
    assert remarks(cells) == [
        "p, widths 8, 16 (3 cells, 1 of them with another setting varied): for example: "
        "λ_min = -1.37e-13 is below the noise floor 9.12e-11",
        f"p, width 8 (2 cells): {rows}",
        f"q, width 32 (1 cell): {rows}",
    ]


def test_numbers_and_lists_of_them_are_dots_and_names_are_not():
    assert wording("rows 3, 4, 17 of K0 = -1.5e-07") == "rows … of K0 = …"
    assert wording("rows 3 of K0 = 2.") == "rows … of K0 = …."


def test_a_page_is_not_flooded():
    cells = [cell(8, 0, [f"remark {'abcdefghijklmnop'[i]}" for i in range(MAX_GROUPS + 2)])]
    lines = remarks(cells)
    assert len(lines) == MAX_GROUPS + 1
    assert lines[-1].startswith("… and 2 rarer remarks")
