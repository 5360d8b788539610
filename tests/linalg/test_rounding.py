"""How much rounding can change an answer, beside rounding that was done; and what the warning says."""

import sys
import warnings

import pytest
import torch

from ntkgap.errors import AccuracyWarning
from ntkgap.linalg import rounding
from ntkgap.linalg.rounding import (
    IN_DOUBLE,
    change_of_targets,
    check_solve,
    noise_floor,
    remedies,
    warn_of_rounding,
    warn_of_targets,
)
from tests.linalg.operators import random_gram, with_eigenvalues
from tests.tolerances import EXACT

SINGLE, DOUBLE = torch.float32, torch.float64
UNIT = torch.finfo(SINGLE).eps


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def silently(call):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return call()


@pytest.mark.parametrize("rank", [5, 200])
def test_the_floor_covers_what_rounding_to_single_precision_moves(rank):
    gram = random_gram(40, rank)
    moved = gram.float().double() - gram
    floor = noise_floor(torch.linalg.eigvalsh(gram.float().double()), 40, SINGLE)
    assert 0 < float(torch.linalg.matrix_norm(moved, 2)) <= floor


def test_the_floor_is_no_smaller_than_a_negative_eigenvalue():
    eigenvalues = torch.tensor([-0.5, 1.0, 4.0], dtype=DOUBLE)
    assert noise_floor(eigenvalues, 3, SINGLE) == 0.5
    assert noise_floor(eigenvalues + 0.5, 3, SINGLE) == pytest.approx(3 * UNIT * 4.5, rel=EXACT)
    assert noise_floor(torch.tensor([-4.0, 1.0], dtype=DOUBLE), 2, SINGLE) == 4.0


def test_no_rounding_within_the_floor_changes_targets_by_more_and_one_by_as_much():
    """(K + E + s·I)α = r is (K + s·I)α = r − Eα: the targets of the true problem are off by Eα."""
    gram, residual, floor = random_gram(6, 9), draw(6, 2), 1e-3
    largest = []
    for seed in range(50):
        error = with_eigenvalues(floor * torch.sin(draw(6, seed=seed)), seed)  # of any spectrum within the floor
        duals = torch.linalg.solve(gram + error + 0.1 * torch.eye(6), residual)
        change = residual - (gram + 0.1 * torch.eye(6, dtype=DOUBLE)) @ duals
        rho = float((change.norm(dim=0) / residual.norm(dim=0)).max())
        assert rho <= change_of_targets(floor, duals, residual) * (1 + EXACT)
        largest.append(rho)
    worst = floor * torch.eye(6, dtype=DOUBLE)
    duals = torch.linalg.solve(gram + worst + 0.1 * torch.eye(6), residual)
    rho = float(((worst @ duals).norm(dim=0) / residual.norm(dim=0)).max())
    assert change_of_targets(floor, duals, residual) == pytest.approx(rho, rel=EXACT)
    assert max(largest) < 100 * rho


def test_targets_of_zero_have_no_change_without_duals():
    assert change_of_targets(1.0, torch.zeros(3, 1), torch.zeros(3, 1)) == 0


def solved(gram, noise, residual):
    """Duals of (K + s·I)α = r, in float64."""
    return torch.linalg.solve(gram.double() + noise * torch.eye(len(gram), dtype=DOUBLE), residual)


def test_a_solve_is_warned_of_where_noise_would_show_and_only_there():
    gram, residual = random_gram(20, 12).float(), draw(20, 1)
    largest = float(torch.linalg.eigvalsh(gram)[-1])
    floor = 20 * UNIT * largest
    for noise, warned in ((100 * floor, False), (floor / 2, True)):
        duals = solved(gram, noise, residual)
        assert (floor * float(duals.norm()) > 0.1 * float(residual.norm())) is warned

        def check(duals=duals):
            check_solve(gram, duals, residual, "the kernel", "raise the noise")

        if warned:
            with pytest.warns(AccuracyWarning, match=r"the kernel is known to .* in float32.*; .*raise the noise"):
                check()
        else:
            silently(check)


def test_entries_cast_to_double_keep_the_precision_in_which_they_were_computed():
    gram, residual = random_gram(20, 12).float().double(), draw(20, 1)
    duals = solved(gram, 1e-5, residual)
    with pytest.warns(AccuracyWarning, match="in float32"):
        check_solve(gram, duals, residual, "the kernel", "raise the noise", SINGLE)
    exact = random_gram(20, 12)
    silently(lambda: check_solve(exact, solved(exact, 1e-5, residual), residual, "the kernel", "raise the noise"))


def test_eigenvalues_are_not_sought_where_no_noise_could_matter(monkeypatch):
    gram, residual = random_gram(20, 60).float(), draw(20, 1)
    monkeypatch.setattr(rounding, "_extreme_eigenvalues", lambda gram: pytest.fail("eigenvalues were computed"))
    check_solve(gram, solved(gram, 1.0, residual), residual, "the kernel", "raise the noise")


def test_of_a_large_matrix_the_greatest_eigenvalue_is_found_by_products_alone(monkeypatch):
    gram = random_gram(50, 60)
    exact = torch.linalg.eigvalsh(gram)
    assert torch.equal(rounding._extreme_eigenvalues(gram), exact[[0, -1]])
    monkeypatch.setattr(rounding, "LARGEST_DECOMPOSED", 49)
    least, greatest = rounding._extreme_eigenvalues(gram).tolist()
    assert least == 0
    assert 0.9 * float(exact[-1]) < greatest <= float(exact[-1]) * (1 + EXACT)
    assert rounding._extreme_eigenvalues(torch.zeros(50, 50)).tolist() == [0, 0]
    with pytest.warns(AccuracyWarning) as caught:  # what is not known is not said
        warn_of_rounding("which matters", 1e-3, gram, "K", "raise the noise")
    assert "smallest eigenvalue" not in str(caught[0].message)


def with_a_repeated_row(dtype):
    j = draw(6, 9)
    j[4] = j[1]
    return (j @ j.T).to(dtype)


def test_what_helps_is_what_fits_the_matrix(monkeypatch):
    regular = random_gram(6, 9)
    own, leave = "raise the noise", "leave out inputs that repeat others (rows 1 = 4)"
    assert remedies(regular, DOUBLE, own) == own
    assert remedies(regular, SINGLE, own) == f"{IN_DOUBLE}, or {own}"
    assert remedies(with_a_repeated_row(DOUBLE), DOUBLE, own) == f"{leave}, or {own}"
    assert remedies(with_a_repeated_row(SINGLE), SINGLE, own) == f"{leave}, or {IN_DOUBLE}, or {own}"
    # Neighbors that float64 cannot tell from each other count as repeated, those of float32 do not.
    j = draw(6, 9)
    j[4] = j[1] + 1e-9 * draw(9, seed=1)
    assert remedies(j @ j.T, DOUBLE, own) == f"{leave}, or {own}"
    j[4] = j[1] + 1e-5 * draw(9, seed=1)
    assert remedies((j @ j.T).float(), SINGLE, own) == f"{IN_DOUBLE}, or {own}"
    j[4] = 2 * j[1]
    assert remedies(j @ j.T, DOUBLE, own) == f"{leave.replace(' (', ', but for a factor (')}, or {own}"
    monkeypatch.setattr(rounding, "LARGEST_DECOMPOSED", 5)
    j[4] = j[1] + 1e-9 * draw(9, seed=1)
    assert remedies(j @ j.T, DOUBLE, own) == own  # a large matrix is not decomposed for a message
    assert remedies(with_a_repeated_row(DOUBLE), DOUBLE, own) == f"{leave}, or {own}"


@pytest.mark.parametrize(
    ("effect", "words"),
    [(0.11, "by 11% of their size;"), (0.5, "by 50% of their size;"), (1.0, "by their own size or more;")],
)
def test_the_change_of_targets_is_said_in_units_of_their_size(effect, words):
    gram = random_gram(3, 9)
    with pytest.warns(AccuracyWarning, match=f"can do as much as a change of the targets {words}"):
        warn_of_targets(effect, 1e-3, gram, "the kernel", "raise the noise")
    silently(lambda: warn_of_targets(0.1, 1e-3, gram, "the kernel", "raise the noise"))


def message(gram, floor, precision=None):
    with pytest.warns(AccuracyWarning) as caught:
        warn_of_rounding("which matters", floor, gram, "K", "raise the noise", precision)
    return str(caught[0].message)


def test_the_warning_names_the_noise_the_least_eigenvalue_and_the_precision():
    gram = with_eigenvalues([0.25, 1.0, 2.0])
    assert message(gram, 1e-3) == (
        "rounding decides this answer: K is known to within 0.001 in float64 (its smallest eigenvalue is 0.25), "
        "which matters; raise the noise"
    )
    assert message(gram, 1e-3, SINGLE) == (
        "rounding decides this answer: K is known to within 0.001 in float32 (its smallest eigenvalue is 0.25), "
        f"which matters; {IN_DOUBLE}, or raise the noise"
    )


def test_an_eigenvalue_more_negative_than_double_precision_makes_it_hints_at_a_coarser_type():
    coarse = with_eigenvalues([-0.25, *range(1, 12)])  # no pair of rows is to blame
    assert message(coarse, 0.25).endswith(f"; if it came from a coarser type, {IN_DOUBLE}; else raise the noise")
    assert message(coarse, 0.25, SINGLE).endswith(f"which matters; {IN_DOUBLE}, or raise the noise")
    rounded = with_eigenvalues([-1e-15, *range(1, 12)])
    assert -float(torch.linalg.eigvalsh(rounded)[0]) > 0
    assert message(rounded, 1e-13).endswith("which matters; raise the noise")


def test_the_warning_is_of_the_line_that_called_what_solves():
    gram, residual = random_gram(20, 12).float(), draw(20, 1)

    def regression():
        check_solve(gram, solved(gram, 1e-6, residual), residual, "the kernel", "raise the noise")

    def modes():
        warn_of_targets(1.0, 1e-3, gram, "the kernel", "raise the noise")

    def dynamics():
        modes()

    for solves in (regression, dynamics):
        line = sys._getframe().f_lineno + 2
        with pytest.warns(AccuracyWarning) as caught:
            solves()
        assert (caught[0].filename, caught[0].lineno) == (__file__, line)
