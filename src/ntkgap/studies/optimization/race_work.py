"""What a race takes, foretold; searches for settings are taken to go on by one value."""

from ntkgap.studies.estimate import Work
from ntkgap.studies.optimization.race_spec import KFAC_RATES, NATURAL_GRADIENT, RaceSpec
from ntkgap.studies.optimization.work import CHOLESKY, CellWork

# Operations for a Cholesky factor with d rows and what is solved with it: this times d³.
INVERSE = 1.0


def race_work(race: RaceSpec, cell: CellWork) -> Work:
    """All runs of all methods, those of the searches included."""
    tried = race.tuning_points + 1
    # SGD's chosen path is walked once more.
    first_order = {"gd": 1, "sgd": tried * len(race.momenta) + 1, "adam": tried}
    runs = sum(first_order.get(method, 0) for method in race.optimizers)
    natural = sum(method in NATURAL_GRADIENT for method in race.optimizers)
    kronecker = len(KFAC_RATES) * tried if "kfac" in race.optimizers else 0
    return runs * race.steps * _first_order_step(race, cell) + race.second_order_steps * (
        natural * _natural_step(cell) + kronecker * _kronecker_step(cell)
    )


def _first_order_step(race: RaceSpec, cell: CellWork) -> Work:
    """An update, and the losses on both sets."""
    batch = race.batch_size or cell.n_train
    recorded = cell.n_test + (cell.n_train if race.batch_size else 0)
    # Training is in float32, which counts half.
    return 0.5 * (cell.passes(3, batch) + cell.passes(1, recorded) + cell.update())


def _natural_step(cell: CellWork) -> Work:
    """The Jacobian, its Gram matrix, a solve, and a try of the step."""
    solve = cell.cube(CHOLESKY) + cell.vjp() + cell.update()
    return cell.jacobian(cell.n_train) + cell.gram(cell.n_train, True) + solve + cell.passes(1, cell.n_train)


def _kronecker_step(cell: CellWork) -> Work:
    """A backward pass an output, and both factors of every layer decomposed."""
    shapes = cell.sizes.recipe.shapes.values()
    solves = Work(INVERSE * sum(s.out**3 + s.into**3 for s in shapes))
    return 0.5 * (cell.passes(cell.classes + 3, cell.n_train) + solves)
