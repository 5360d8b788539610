import pytest

from ntkgap.studies.diagnosis import measure as measuring


@pytest.fixture
def rule_alone(in_process, monkeypatch):
    """Cells in this process, without what the rule does not see."""
    for part in ("generalize", "compare_uncertainty"):
        monkeypatch.setattr(measuring, part, lambda *args: None)
    monkeypatch.setattr(measuring, "train_linearized", lambda *args: (None, "left out by a test"))
