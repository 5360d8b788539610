"""The same matrix through every format, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError

FULL = [[0.75, 0.25, 0.5], [0.5, 1.0, 0.125], [0.25, 0.375, 0.875]]
LOWER = [[0.75], [0.5, 1.0], [0.25, 0.375, 0.875]]


def same(matrix, expected):
    np.testing.assert_allclose(matrix.scores, np.array(expected, dtype=float), rtol=0, atol=1e-15)


def lower():
    return [[*row, *[np.nan] * (3 - len(row))] for row in LOWER]


@pytest.mark.parametrize("source", [FULL, np.array(FULL), torch.tensor(FULL)])
def test_arrays(source):
    same(ng.continual.import_accuracy_matrix(source), FULL)
    same(ng.continual.import_accuracy_matrix(np.array(FULL) * 100, percent=True), FULL)


def test_growing_rows():
    same(ng.continual.import_accuracy_matrix(LOWER), lower())


def test_files(tmp_path):
    np.save(tmp_path / "r.npy", FULL)
    np.savez(tmp_path / "r.npz", FULL)
    (tmp_path / "r.json").write_text(json.dumps(LOWER))
    np.savetxt(tmp_path / "r.csv", FULL, delimiter=",")
    (tmp_path / "h.csv").write_text("a,b,c\n0.75,,\n0.5,1,\n0.25,0.375,0.875\n")
    (tmp_path / "n.csv").write_text(pd.DataFrame(FULL).to_csv())
    same(ng.continual.import_accuracy_matrix(tmp_path / "n.csv"), FULL)
    for name, expected in (
        ("r.npy", FULL),
        ("r.npz", FULL),
        ("r.json", lower()),
        ("r.csv", FULL),
        ("h.csv", lower()),
    ):
        same(ng.continual.import_accuracy_matrix(tmp_path / name), expected)


def test_joint_and_initial_scores_beside_the_matrix(tmp_path):
    parts = {"R": FULL, "joint": [0.75, 0.5, 1.0], "initial": [0.125, 0.25, 0.0]}
    np.savez(tmp_path / "r.npz", **{name: 100 * np.array(part) for name, part in parts.items()})
    (tmp_path / "r.json").write_text(json.dumps(parts))
    for name, percent in (("r.npz", True), ("r.json", None)):
        found = ng.continual.import_accuracy_matrix(tmp_path / name, percent=percent)
        same(found, FULL)
        assert found.joint.tolist() == parts["joint"]
        assert found.initial.tolist() == parts["initial"]
    np.savez(tmp_path / "r.npz", a=FULL, b=FULL)
    with pytest.raises(DataError, match="'R' or 'scores'"):
        ng.continual.import_accuracy_matrix(tmp_path / "r.npz")


def test_avalanche_metrics():
    key = "Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp{:03}"
    metrics = {key.format(s): ([10, 20, 30], [row[s] for row in FULL]) for s in range(3)}
    metrics["Top1_Acc_Exp/eval_phase/train_stream/Task000/Exp000"] = ([10], [0.0])
    same(ng.continual.import_accuracy_matrix(metrics), FULL)
    seen = {key.format(s): ([10, 20, 30][s:], [LOWER[t][s] for t in range(s, 3)]) for s in range(3)}
    same(ng.continual.import_accuracy_matrix(json.loads(json.dumps(seen))), lower())
    before = {k: ([0, *x], [0.125, *v]) for k, (x, v) in metrics.items() if "test" in k}
    found = ng.continual.import_accuracy_matrix(before)
    same(found, FULL)
    assert found.initial.tolist() == [0.125] * 3


def test_avalanche_file(tmp_path):
    path = tmp_path / "eval_results.csv"
    lines = ["eval_exp,training_exp,eval_accuracy,eval_loss,forgetting"]
    lines += [f"{s},None,0.1250,2.3,0" for s in range(3)]
    lines += [f"{s},{t},{FULL[t][s]:.4f},0.5,0" for t in range(3) for s in range(3)]
    path.write_text("\n".join(lines) + "\n")
    found = ng.continual.import_accuracy_matrix(path)
    same(found, FULL)
    assert found.initial.tolist() == [0.125] * 3
    path.write_text("\n".join([*lines, lines[-1]]))
    with pytest.raises(DataError, match="already evaluated"):
        ng.continual.import_accuracy_matrix(path)


def test_mammoth_file(tmp_path):
    path = tmp_path / "logs.pyd"
    entries = [
        f"'accuracy_{s + 1}_task{t + 1}': {100 * a}" for t, row in enumerate(LOWER) for s, a in enumerate(row)
    ]
    line = (
        "{'device': device(type='cpu'), 'accmean_task1': 75.0, " + ", ".join(entries) + ", 'forgetting': None}\n"
    )
    path.write_text(line)
    same(ng.continual.import_accuracy_matrix(path), lower())
    path.write_text(line + line.replace("75.0", "np.float64(87.5)"))
    with pytest.raises(DataError, match="2 runs"):
        ng.continual.import_accuracy_matrix(path)
    assert ng.continual.import_accuracy_matrix(path, run=-1).scores[0, 0] == 0.875
    with pytest.raises(DataError, match="run must be an integer"):
        ng.continual.import_accuracy_matrix(path, run="0")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([[75.0, 1.0], [1.0, 75.0]], "percent=True"),
        ([[0.1, 0.2], [0.3]], "square"),
        ([[0.1]], "at least two"),
        ([[0.1, 0.2], ["x", 0.3]], "numbers"),
        ({"loss": ([1], [2])}, "evaluated at 0 times|no accuracies"),
        ("nowhere.csv", "no file"),
    ],
)
def test_refusals(source, message):
    with pytest.raises(DataError, match=message):
        ng.continual.import_accuracy_matrix(source)


def test_more_than_all():
    with pytest.raises(DataError, match="more than 100"):
        ng.continual.import_accuracy_matrix([[750.0, 1.0], [1.0, 75.0]], percent=True)


def test_fractions_are_not_percentages():
    with pytest.raises(DataError, match="fractions"):
        ng.continual.import_accuracy_matrix(FULL, percent=True)


def test_missing_below_the_diagonal(tmp_path):
    (tmp_path / "r.csv").write_text("0.5,0.1\n,0.5\n")
    with pytest.raises(DataError, match=r"scores\[1, 0\]"):
        ng.continual.import_accuracy_matrix(tmp_path / "r.csv")


@pytest.mark.parametrize("name", ["r.npy", "r.npz", "r.json", "r.csv", "r.pyd", "r.txt"])
@pytest.mark.parametrize("junk", [b"", b"PK\x03\x04", b"\x93NUMPY", b"\xff\xfe\x00 junk"])
def test_junk_files_are_named(tmp_path, name, junk):
    path = tmp_path / name
    path.write_bytes(junk)
    with pytest.raises(DataError):
        ng.continual.import_accuracy_matrix(path)


@pytest.mark.parametrize("percent", [True, False, None])
def test_fractions_beside_percentages_are_refused(percent):
    hundred = (np.array(FULL) * 100).tolist()
    with pytest.raises(DataError, match="R is in percent, but joint is in fractions"):
        ng.continual.import_accuracy_matrix({"R": hundred, "joint": [0.75, 0.5, 1.0]}, percent=percent)
    for name in ("joint", "initial"):
        with pytest.raises(DataError, match=f"R is in fractions, but {name} is in percent"):
            ng.continual.import_accuracy_matrix({"R": FULL, name: [75.0, 50.0, 100.0]}, percent=percent)
    low = ng.continual.import_accuracy_matrix({"R": hundred, "initial": [0.0, 1.0, 0.5]}, percent=True)
    assert low.initial.tolist() == [0.0, 0.01, 0.005]  # below 1 percent before training is no fraction


@pytest.mark.parametrize("header", ["", "a,b,c\n"])
def test_tables_of_spreadsheets_begin_with_a_byte_order_mark(tmp_path, header):
    path = tmp_path / "R.csv"
    path.write_text(header + "\n".join(",".join(map(str, row)) for row in FULL), encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    found = ng.continual.import_accuracy_matrix(path)
    np.testing.assert_array_equal(found.scores, np.array(FULL))
