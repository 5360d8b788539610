"""The example on forgetting, at one tiny setting: it prints what was seen beside what was predicted."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "forgetting.py"


def test_it_prints_a_row_for_every_training_budget(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("example_forgetting", SCRIPT)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(example, "STEPS", (2, 4))
    monkeypatch.setattr(example, "build", lambda width, seed: example.torch.nn.Linear(64, 10))
    example.main()
    rows = capsys.readouterr().out.splitlines()[1:]
    assert len(rows) == 4
    for row in rows:  # a linear model does what its kernel says
        seen, said = row.split()[-2:]
        assert seen == said
