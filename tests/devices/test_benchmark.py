"""The benchmark that a person with a GPU runs is run on the CPU, and on the simulated device."""

import pytest
from benchmarks import gpu


@pytest.mark.parametrize("device", ["cpu", "sim"])
def test_prints_a_table(sim, device, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "REPEATS", 1)
    gpu.main(["--device", device, "--small", "--without-study"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 7 + 3  # with the heads
    assert "at once" in rows[7][1]
    errors = [float(row[-1]) for row in rows[1:7] + rows[8:]]
    assert max(errors) < 1e-5
