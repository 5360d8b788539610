"""Float32 products are float32 where kernels are made, whatever the process has chosen; afterwards as it was."""

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import KernelError
from ntkgap.kernels.neutral import neutral
from tests.devices.made import grams, inputs, net
from tests.sim_device import without_float64


def test_reduced_precision_is_off_inside():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        switch = torch.backends.mkldnn.matmul
        chosen = switch.fp32_precision
        assert chosen != "ieee"
        with neutral():
            assert switch.fp32_precision == "ieee"
        assert switch.fp32_precision == chosen
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_gram_algebra_moves_to_the_cpu_where_there_is_no_float64(sim, monkeypatch):
    monkeypatch.setattr("ntkgap.models.devices.WITHOUT_FLOAT64", {"sim"})
    gram = grams(torch.device("cpu"))[0].float()
    with without_float64():
        found, expected = ng.spectrum(gram.to(sim)), ng.spectrum(gram)
        assert found.eigenvalues.device.type == "cpu"
        assert found.eigenvalues.equal(expected.eigenvalues)
        assert ng.theory.critical_learning_rate(gram.to(sim)) == ng.theory.critical_learning_rate(gram)
        with pytest.raises(KernelError, match="sim has no float64; move the model and the inputs to the CPU"):
            ng.empirical_ntk(net(sim), inputs(sim), dtype=torch.float64)
