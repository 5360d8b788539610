import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tests run in parallel processes: threads on top of that only get in each other's way."""
    torch.set_num_threads(1)


@pytest.fixture
def undrawn(monkeypatch):
    """Pages without their drawings, for tests of something else."""
    import matplotlib.pyplot as plt

    from ntkgap.reporting import page

    monkeypatch.setattr(page, "_keep", lambda figure, *_: plt.close(figure) or page.Drawing("<svg/>", None))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
