"""The infinite-width kernel of a problem, computed once for all widths where it does not depend on them."""

from functools import lru_cache

import torch
from torch import Generator, Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import KernelError, ModelError
from ntkgap.kernels import infinite_width
from ntkgap.models.devices import in_float64
from ntkgap.studies.device import moved, present
from ntkgap.studies.findings import Findings
from ntkgap.studies.model import ModelSpec
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.spec import DataSpec

# Any width does: the limit of the networks for which it is asked does not depend on it.
ANY_WIDTH = 8


def infinite_width_gram(
    problem: OptimizationProblem, network: nn.Module, data: Dataset, seed: int, findings: Findings
) -> Tensor | None:
    """Gram matrix of the infinitely wide network, Θ ⊗ I over outputs, [nC, nC]; None where no limit is known.

    Args:
        problem: what network this is, on what data.
        network: of some width, on which the limit depends in all parametrizations but NTK's.
        data: the training set of the seed.
        seed: of the data.
        findings: where the reason is put down if there is no limit.
    """
    model = problem.model
    try:
        if isinstance(model, ModelSpec) and model.one_limit:
            ntk = _of_any_width(model.model_dump_json(), problem.data.model_dump_json(), seed, str(present()))
        else:
            ntk = infinite_width(network).ntk(data.x)
    except (KernelError, ModelError) as error:
        findings.leave_out(f"no infinite-width kernel: {error}", "limit_distance")
        return None
    return torch.kron(ntk, torch.eye(data.y.shape[1]).to(ntk))


@lru_cache(maxsize=8)
def _of_any_width(model: str, data: str, seed: int, at: str) -> Tensor:
    """Θ on the training set of a seed, [n, n], on a device; specifications as JSON.

    With pooled pixels it takes minutes.
    """
    train, _ = DataSpec.model_validate_json(data).load(seed)
    train = in_float64(moved(train))
    network = in_float64(ModelSpec.model_validate_json(model).build(train, ANY_WIDTH, Generator().manual_seed(0)))
    return infinite_width(network).ntk(train.x)
