import pytest
import torch

import ntkgap as ng
from ntkgap.data.streams import score
from ntkgap.errors import DataError


def labelled(labels, n_classes=3, dim=2):
    y = torch.nn.functional.one_hot(torch.tensor(labels), n_classes).float()
    return ng.Dataset(torch.arange(len(labels) * dim).float().reshape(-1, dim), y, n_classes)


def values(n=4, columns=1, dim=2):
    return ng.Dataset(torch.ones(n, dim), torch.arange(n * columns).float().reshape(n, columns))


GOOD = (labelled([0, 1, 2, 0]), labelled([2, 1]))


def test_accuracy_counts_the_task_s_own_columns():
    data = labelled([0, 1, 1, 0], n_classes=2)
    outputs = torch.tensor([[9.0, 1, 0], [9, 1, 2], [0, 3, 1], [0, 1, 0]])
    assert score(outputs, data, (1, 2)).item() == 0.75
    assert score(outputs, data, (0, 1)).item() == 0.5
    several = torch.stack([outputs, -outputs])
    assert score(several, data, (1, 2)).tolist() == [0.75, 0.25]


def test_accuracy_of_signs():
    data = ng.Dataset(torch.ones(4, 1), torch.tensor([[1.0], [-1], [-1], [1]]), 2)
    outputs = torch.tensor([[0.0, 2.0], [0, -3], [0, 1], [0, 0.5]])
    assert score(outputs, data, (1,)).item() == 0.75


def test_explained_variance():
    data = ng.Dataset(torch.ones(3, 1), torch.tensor([[1.0, 0], [2, 0], [3, 6]]))
    y = data.y
    assert score(y, data, (0, 1)).item() == 1
    assert score(y.mean(dim=0).expand(3, 2), data, (0, 1)).item() == pytest.approx(0)
    # Residuals of sum of squares 1 + 4; targets spread by 2 in one column and 24 in the other.
    outputs = torch.cat([torch.zeros(3, 1), y + torch.tensor([[1.0, 0], [0, 0], [0, 2]])], dim=1)
    assert score(outputs, data, (1, 2)).item() == pytest.approx(1 - 5 / 26)


def test_scores_of_what_is_not_finite_are_undecided():
    data = labelled([0, 1], n_classes=2)
    outputs = torch.eye(2).repeat(3, 1, 1)
    outputs[1, 0, 0] = torch.nan
    outputs[2, 1, 1] = torch.inf
    found = score(outputs, data, (0, 1))
    assert found[0] == 1
    assert found[1:].isnan().all()


def test_own_tasks_with_one_head_and_with_heads_of_their_own():
    single = ng.TaskStream.of([GOOD, GOOD])
    assert [task.name for task in single.tasks] == ["task 0", "task 1"]
    assert (single.n_outputs, single.separate_heads, single.classification) == (3, False, True)
    own = ng.TaskStream.of([GOOD, (labelled([0, 1], 2), labelled([0], 2))], ["a", "b"], "per_task", name="mine")
    assert [task.columns for task in own.tasks] == [(0, 1, 2), (3, 4)]
    assert (own.name, own.n_outputs, own.separate_heads) == ("mine", 5, True)
    assert own.tasks[1].name == "b"
    assert own.tasks[0].train is GOOD[0]
    regression = ng.TaskStream.of([(values(), values(2))] * 3, heads="per_task")
    assert (regression.classification, regression.n_outputs) == (False, 3)


@pytest.mark.parametrize(
    ("datasets", "options", "words"),
    [
        ([GOOD], {}, "has 1 task.s.; forgetting takes at least two"),
        ([GOOD, GOOD[0]], {}, "task 1 must be a pair of Datasets"),
        ([GOOD, (GOOD[0], None)], {}, "task 1 must be a pair of Datasets"),
        ([GOOD, GOOD], {"names": ["a"]}, "2 tasks need 2 different names"),
        ([GOOD, GOOD], {"names": ["a", "a"]}, "2 tasks need 2 different names"),
        ([GOOD, GOOD], {"heads": "shared"}, "unknown heads 'shared'; choose 'single' or 'per_task'"),
        ([GOOD, (labelled([0, 1], 2), labelled([0], 2))], {}, "has 2 targets .* has 3; .* or heads='per_task'"),
        ([GOOD, (labelled([0, 1, 2], dim=5), GOOD[1])], {}, r"'task 1' has training inputs of shape \(5,\)"),
        ([GOOD, (GOOD[0], labelled([0], dim=5))], {}, r"'task 1' has test inputs of shape \(5,\)"),
        ([GOOD, (GOOD[0], labelled([0], 2))], {}, "has 2 test targets an example, but is for 3 outputs"),
        ([GOOD, (values(columns=3), values(columns=3))], {}, "not of one kind"),
        ([GOOD, (labelled([0, 1, 1]), labelled([0, 2, 1]))], {}, "'task 1' tests class 2 .*no example"),
        ([GOOD, (labelled([0]), labelled([1, 2]))], {"heads": "per_task"}, "tests class 1, 2 "),
    ],
)
def test_own_tasks_that_do_not_go_together_are_named(datasets, options, words):
    with pytest.raises(DataError, match=words):
        ng.TaskStream.of(datasets, **options)


def test_a_missing_sign_is_named():
    both, one = (ng.Dataset(torch.ones(2, 1), torch.tensor(y), 2) for y in ([[1.0], [-1.0]], [[1.0], [1.0]]))
    with pytest.raises(DataError, match="tests class 0 "):
        ng.TaskStream.of([(both, both), (one, both)])
    assert len(ng.TaskStream.of([(both, both), (both, one)])) == 2


@pytest.mark.parametrize("columns", [(), (1, 0, 2), (0, 0, 1), (-1, 0, 1)])
def test_columns_ascend_from_zero(columns):
    good, bad = (ng.Task(str(c), *GOOD, c) for c in ((0, 1, 2), columns))
    with pytest.raises(DataError):
        ng.TaskStream("any", (good, bad))


def test_casting_keeps_the_tasks():
    stream = ng.TaskStream.of([GOOD, GOOD]).to(torch.float64)
    assert all(task.train.x.dtype == task.test.y.dtype == torch.float64 for task in stream.tasks)
    assert stream.template().y.shape == (4, 3)
    assert stream.template().y.dtype == torch.float64
