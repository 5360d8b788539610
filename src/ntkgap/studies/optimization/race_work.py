"""What a race of optimisers has to do."""

from ntkgap.studies.estimate import Work
from ntkgap.studies.optimization.race_spec import FIRST_ORDER, KFAC_RATES, Method, RaceSpec
from ntkgap.studies.optimization.work import CHOLESKY, CellWork

# Passes of first-order methods and K-FAC are in float32, which is twice as fast.
SINGLE = 0.5

# Values by which a search goes on beyond the ends of its grid, as a rule.
EXTENSIONS = 2

# Steps or dampings that a natural gradient tries in a step, as a rule.
TRIES = 2


def race_work(spec: RaceSpec, cell: CellWork, observations: int) -> Work:
    """Every method once or, where it is tuned, once for every setting tried.

    Args:
        spec: of the race.
        cell: the network and its data.
        observations: of the Jacobian along the path of SGD, walked once more for them.
    """
    first_order = spec.steps * _first_order_step(spec, cell)
    second_order = {True: _kfac_step(cell), False: _natural_step(cell)}
    work = Work()
    for method in spec.optimizers:
        one = first_order if method in FIRST_ORDER else spec.second_order_steps * second_order[method == "kfac"]
        work += _runs(method, spec) * one
    if "sgd" in spec.optimizers:
        work += first_order + cell.drift(observations)
    return work


def _runs(method: Method, spec: RaceSpec) -> int:
    tried = spec.tuning_points + EXTENSIONS
    return {"sgd": tried * len(spec.momenta), "adam": tried, "kfac": tried * len(KFAC_RATES)}.get(method, 1)


def _first_order_step(spec: RaceSpec, cell: CellWork) -> Work:
    """Forward and backward; the loss on all examples beside a minibatch's; the loss on test data."""
    batch = spec.batch_size or cell.n_train
    whole = 0 if batch == cell.n_train else 1
    tests = cell.passes(1, cell.n_test) + cell.passes(whole, cell.n_train)
    return SINGLE * (cell.passes(3, batch) + tests + cell.update(6))


def _natural_step(cell: CellWork) -> Work:
    """As in the study's own descent, without the drift, and with tries where steps are searched for."""
    system = cell.jacobian(cell.n_train) + cell.gram(cell.n_train, True)
    solve = cell.cube(CHOLESKY) + cell.vjp() + cell.update()
    return system + TRIES * (solve + cell.passes(1, cell.n_train)) + cell.passes(1, cell.n_test)


def _kfac_step(cell: CellWork) -> Work:
    """Backward passes of all outputs; for every layer two second moments, and their Cholesky factors."""
    work = cell.passes(cell.classes + 2, cell.n_train) + cell.passes(1, cell.n_test) + 3 * cell.update()
    for shape in cell.sizes.recipe.shapes.values():
        d, o, used = shape.into, shape.out, cell.n_train * shape.positions * shape.groups
        moments = 2 * used * (d**2 + cell.classes * o**2)
        work += Work(moments + CHOLESKY * (d**3 + o**3) + 4 * d * o * (d + o), calls=10)
    return SINGLE * work
