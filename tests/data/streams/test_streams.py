"""Streams of tasks: what every kind promises, what each one does to its images, and what is refused."""

import math

import pytest
import torch

import ntkgap as ng
from ntkgap.data.streams import STREAMS, rotate, score
from ntkgap.errors import DataError
from tests.data.test_real_files import ROOT
from tests.tolerances import EXACT, SINGLE

SMALL = {"n_train": 20, "n_test": 30}


def labels(data):
    return data.y.argmax(dim=1)


@pytest.mark.parametrize("kind", [kind for kind in STREAMS if kind != "tasks"])  # it has no data of its own
class TestEveryKind:
    def test_the_same_arguments_give_the_same_stream_and_another_seed_another(self, kind):
        a, b, other = (ng.continual.load_stream(kind, **SMALL, seed=seed) for seed in (1, 1, 2))
        for s, t, u in zip(a.tasks, b.tasks, other.tasks, strict=True):
            assert torch.equal(s.train.x, t.train.x)
            assert torch.equal(s.test.y, t.test.y)
            assert not torch.equal(s.train.x, u.train.x)

    def test_sizes_are_those_of_every_task(self, kind):
        stream = ng.continual.load_stream(kind, **SMALL, tasks=3)
        assert len(stream) == 3
        for task in stream.tasks:
            assert (len(task.train), len(task.test)) == (20, 30)
            assert task.train.x.dtype == torch.float32
            assert max(task.columns) < stream.n_outputs
        assert stream.template().y.shape == (20, stream.n_outputs)
        assert stream.to(torch.float64).tasks[1].test.x.dtype == torch.float64

    def test_no_training_input_is_in_two_tasks(self, kind):
        if kind == "rotated":
            stream = ng.continual.load_stream(kind, **SMALL, angle=0)
        else:
            stream = ng.continual.load_stream(kind, **SMALL, **({"fraction": 0} if kind == "permuted" else {}))
        rows = torch.cat([task.train.x.flatten(1) for task in stream.tasks])
        assert len(torch.unique(rows, dim=0)) == len(rows)

    @pytest.mark.parametrize("tasks", [1, 0, True, 2.5, "3"])
    def test_fewer_than_two_tasks_are_no_stream(self, kind, tasks):
        with pytest.raises(DataError, match="tasks"):
            ng.continual.load_stream(kind, **SMALL, tasks=tasks)

    @pytest.mark.parametrize("n", [0, -1, 1.5, True])
    def test_sizes_out_of_range_are_refused(self, kind, n):
        with pytest.raises(DataError, match="n_train"):
            ng.continual.load_stream(kind, n_train=n)
        with pytest.raises(DataError, match="n_test"):
            ng.continual.load_stream(kind, n_train=20, n_test=n)

    def test_unknown_options_are_refused_with_those_there_are(self, kind):
        with pytest.raises(DataError, match=r"has no option spin; it takes .*tasks"):
            ng.continual.load_stream(kind, spin=1)
        with pytest.raises(DataError, match="seed"):
            ng.continual.load_stream(kind, seed=-1)


@pytest.mark.parametrize("kind", ["rotated", "permuted", "split"])
class TestEveryKindOfImages:
    def test_classes_are_balanced_in_every_task(self, kind):
        stream = ng.continual.load_stream(kind, n_train=40, n_test=40, tasks=3)
        for task in stream.tasks:
            counts = labels(task.train).bincount()
            assert counts[counts > 0].max() - counts[counts > 0].min() <= 1

    def test_scalings(self, kind):
        unit = ng.continual.load_stream(kind, **SMALL, scaling="unit_norm")
        raw = ng.continual.load_stream(kind, **SMALL, scaling="none")
        standard = ng.continual.load_stream(kind, **SMALL)
        for a, b in zip(unit.tasks, raw.tasks, strict=True):
            norms = a.test.x.flatten(1).norm(dim=1)
            torch.testing.assert_close(norms, torch.ones_like(norms))
            expected = b.test.x / b.test.x.flatten(1).norm(dim=1)[:, None, None, None]
            torch.testing.assert_close(a.test.x, expected)
        first = standard.tasks[0].train.x
        assert abs(float(first.mean())) < SINGLE
        assert float(first.std(correction=0)) == pytest.approx(1, abs=SINGLE)
        mean, std = raw.tasks[0].train.x.mean(), raw.tasks[0].train.x.std(correction=0)
        last = (raw.tasks[-1].test.x - mean) / std  # one preprocessing for all tasks
        torch.testing.assert_close(standard.tasks[-1].test.x, last, rtol=SINGLE, atol=SINGLE)

    def test_flat_and_small(self, kind):
        images = ng.continual.load_stream(kind, **SMALL, shrink=2, scaling="none")
        flat = ng.continual.load_stream(kind, **SMALL, shrink=2, scaling="none", flatten=True)
        assert images.tasks[0].train.x.shape[1:] == (1, 4, 4)
        assert torch.equal(images.tasks[1].train.x.flatten(1), flat.tasks[1].train.x)
        with pytest.raises(DataError, match="shrink"):
            ng.continual.load_stream(kind, **SMALL, shrink=9)

    def test_more_images_than_there_are(self, kind):
        with pytest.raises(DataError, match=r"tasks of 900 training.*ask for fewer"):
            ng.continual.load_stream(kind, n_train=900)

    def test_data_that_are_no_images(self, kind):
        with pytest.raises(DataError, match="streams of images are made of digits, mnist"):
            ng.continual.load_stream(kind, "sphere")
        with pytest.raises(DataError, match="unknown targets"):
            ng.continual.load_stream(kind, targets="many_hot")
        with pytest.raises(DataError, match="flatten"):
            ng.continual.load_stream(kind, flatten="no")


@pytest.mark.parametrize("kind", ["rotated", "permuted"])
class TestTasksOfAllClasses:
    @pytest.mark.parametrize("n", [10, 11, 12, 13, 17, 19])
    def test_every_task_has_all_classes_and_images_of_its_own(self, kind, n):
        for seed in range(3):
            stream = ng.continual.load_stream(kind, n_train=n, n_test=10, seed=seed, tasks=4)
            for task in stream.tasks:
                counts = labels(task.train).bincount(minlength=10)
                assert len(task.train) == n
                assert counts.min() >= 1
                assert counts.max() <= 3
        still = {"rotated": {"angle": 0}, "permuted": {"fraction": 0}}[kind]
        alike = ng.continual.load_stream(kind, n_train=n, n_test=10, seed=1, tasks=4, **still)
        rows = torch.cat([task.train.x.flatten(1) for task in alike.tasks])
        assert len(torch.unique(rows, dim=0)) == 4 * n

    def test_tasks_that_have_all_classes_are_dealt_out_in_the_order_of_the_draw(self, kind):
        still = {"rotated": {"angle": 0}, "permuted": {"fraction": 0}}[kind]
        stream = ng.continual.load_stream(kind, n_train=25, n_test=10, seed=3, tasks=3, scaling="none", **still)
        drawn, _ = ng.load_data("digits", n_train=75, n_test=10, seed=3, scaling="none", flatten=False)
        assert torch.equal(torch.cat([task.train.x for task in stream.tasks]), drawn.x)

    @pytest.mark.parametrize("n", [1, 5, 9])
    def test_fewer_images_than_classes_are_refused(self, kind, n):
        with pytest.raises(
            DataError, match=rf"task 1 has no training example of class \d.*n_train={n} .*at least 10"
        ):
            ng.continual.load_stream(kind, n_train=n)


@pytest.mark.parametrize("kind", ["rotated", "permuted"])
def test_all_tasks_may_show_the_same_examples(kind):
    still = {"rotated": {"angle": 0}, "permuted": {"fraction": 0}}[kind]
    # As many as there are to draw: with examples of their own two tasks could not be had.
    stream = ng.continual.load_stream(kind, "digits", 1400, 50, tasks=3, same_examples=True, **still)
    for task in stream.tasks[1:]:
        torch.testing.assert_close(task.train.x, stream.tasks[0].train.x, rtol=0, atol=0)
        torch.testing.assert_close(task.train.y, stream.tasks[0].train.y, rtol=0, atol=0)
    with pytest.raises(DataError, match="tasks of 1400"):
        ng.continual.load_stream(kind, "digits", 1400, 50, tasks=3, **still)
    turned = ng.continual.load_stream(kind, "digits", 20, 50, tasks=3, same_examples=True)
    assert not torch.equal(turned.tasks[0].train.x, turned.tasks[1].train.x)


def test_rotation_by_right_angles_is_exact_and_by_others_bilinear():
    images = torch.rand(3, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    assert rotate(images, 0) is images
    for quarter in (1, 2, 3):
        torch.testing.assert_close(rotate(images, 90 * quarter), torch.rot90(images, quarter, (2, 3)))
    # A single bright pixel keeps its mass within the picture, and goes where trigonometry says.
    dot = torch.zeros(1, 1, 21, 21)
    dot[0, 0, 10, 16] = 1.0  # six to the right of the center
    turned = rotate(dot, 30.0)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(21.0), torch.arange(21.0), indexing="ij")
    mass = turned.sum()
    assert mass == pytest.approx(1, abs=0.15)
    assert (columns * turned).sum() / mass - 10 == pytest.approx(6 * math.cos(math.radians(30)), abs=0.25)
    assert 10 - (rows * turned).sum() / mass == pytest.approx(6 * math.sin(math.radians(30)), abs=0.25)


def test_tasks_turn_the_same_test_images_further_and_further():
    stream = ng.continual.load_stream("rotated", **SMALL, angle=90, tasks=4, scaling="none")
    first = stream.tasks[0].test
    for t, task in enumerate(stream.tasks):
        torch.testing.assert_close(task.test.x, torch.rot90(first.x, t, (2, 3)))
        assert torch.equal(task.test.y, first.y)
    assert [task.name for task in stream.tasks] == ["0°", "90°", "180°", "270°"]
    alike = ng.continual.load_stream("rotated", **SMALL, angle=0, tasks=2)
    assert torch.equal(alike.tasks[0].test.x, alike.tasks[1].test.x)


@pytest.mark.parametrize("angle", [-1, 361, float("nan"), "22", True])
def test_angles_out_of_range_are_refused(angle):
    with pytest.raises(DataError, match="angle"):
        ng.continual.load_stream("rotated", **SMALL, angle=angle)


def test_a_full_turn_is_refused():
    with pytest.raises(DataError, match="full circle"):
        ng.continual.load_stream("rotated", **SMALL, angle=90, tasks=5)


def test_pixels_change_places_and_nothing_else():
    whole = ng.continual.load_stream("permuted", **SMALL, tasks=3, scaling="none")
    plain = ng.continual.load_stream("rotated", **SMALL, tasks=3, angle=0, scaling="none")
    assert torch.equal(whole.tasks[0].test.x, plain.tasks[0].test.x)
    for task in whole.tasks[1:]:
        moved, still = task.test.x.flatten(1), plain.tasks[0].test.x.flatten(1)
        assert not torch.equal(moved, still)
        assert torch.equal(moved.sort(dim=1).values, still.sort(dim=1).values)
    a, b = (whole.tasks[t].test.x.flatten(1) for t in (1, 2))
    assert not torch.equal(a, b)  # every task has an order of its own
    some = ng.continual.load_stream("permuted", **SMALL, tasks=3, fraction=0.25, scaling="none")
    changed = (some.tasks[1].test.x != plain.tasks[0].test.x).flatten(1).any(dim=0)
    assert 0 < changed.sum() <= 16
    with pytest.raises(DataError, match="fraction"):
        ng.continual.load_stream("permuted", **SMALL, fraction=1.5)


def test_heads_say_which_outputs_a_task_is_about():
    single = ng.continual.load_stream("split", **SMALL)
    assert [task.columns for task in single.tasks] == [tuple(range(10))] * 5
    assert not single.separate_heads
    assert [sorted(set(labels(t.train).tolist())) for t in single.tasks] == [[2 * t, 2 * t + 1] for t in range(5)]
    shared = ng.continual.load_stream("split", **SMALL, heads="shared")
    assert [task.columns for task in shared.tasks] == [(0, 1)] * 5
    own = ng.continual.load_stream("split", **SMALL, heads="per_task")
    assert [task.columns for task in own.tasks] == [(2 * t, 2 * t + 1) for t in range(5)]
    assert own.separate_heads
    assert own.n_outputs == 10
    assert torch.equal(shared.tasks[3].train.y, own.tasks[3].train.y)
    assert torch.equal(shared.tasks[3].train.x, single.tasks[3].train.x)


def test_tasks_share_as_many_classes_as_they_are_told():
    stream = ng.continual.load_stream("split", **SMALL, classes_per_task=4, overlap=2)
    assert [task.name for task in stream.tasks] == [
        "classes 0, 1, 2, 3", "classes 2, 3, 4, 5", "classes 4, 5, 6, 7", "classes 6, 7, 8, 9",
    ]  # fmt: skip
    own = ng.continual.load_stream("split", **SMALL, classes=[7, 1, 8, 0])
    assert [task.name for task in own.tasks] == ["classes 7, 1", "classes 8, 0"]
    assert own.n_outputs == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"overlap": 2}, "must be less than classes_per_task"),
        ({"classes_per_task": 1}, "classes_per_task"),
        ({"tasks": 6}, "reach for 5 tasks"),
        ({"classes": [0, 1]}, "reach for 1 tasks"),
        ({"classes": [0, 0, 1, 2]}, "different labels of the data"),
        ({"classes": [0, 12, 1, 2]}, "different labels of the data"),
        ({"heads": "many"}, "heads must be one of"),
        ({"n_train": 400}, "5 tasks of 400 training"),
    ],
)
def test_what_classes_do_not_reach_for_is_refused(options, words):
    with pytest.raises(DataError, match=words):
        ng.continual.load_stream("split", **(SMALL | options))


def test_teachers_drift_apart_at_the_pace_they_are_told():
    def correlations(similarity):
        streams = [
            ng.continual.load_stream("teachers", n_test=2000, seed=s, similarity=similarity, same_inputs=True)
            for s in range(40)
        ]
        targets = torch.stack([torch.stack([t.test.y[:, 0] for t in s.tasks]) for s in streams])  # [40, T, n]
        products = (targets[:, :1] * targets).sum(dim=(0, 2))
        return products / products[0]

    for similarity in (0.0, 0.6, 1.0):
        expected = torch.tensor([similarity**t for t in range(5)])
        torch.testing.assert_close(correlations(similarity), expected, rtol=0, atol=0.2)
    alike = ng.continual.load_stream("teachers", similarity=1, same_inputs=True)
    torch.testing.assert_close(alike.tasks[0].train.y, alike.tasks[4].train.y)
    assert not alike.classification
    for bad in ({"similarity": 2}, {"noise": -1}, {"dim": 1}, {"data": "digits"}):
        with pytest.raises(DataError):
            ng.continual.load_stream("teachers", **bad)


def test_scores_are_accuracies_or_explained_variances():
    x = torch.zeros(4, 1)
    classes = ng.Dataset(x, torch.eye(3)[torch.tensor([0, 1, 2, 1])], 3)
    outputs = torch.tensor([[9.0, 1, 0, 0], [9, 0, 1, 0], [9, 1, 0, 0], [9, 0, 2, 1]])
    assert score(outputs, classes, [1, 2, 3]) == 0.75  # what other heads say does not count
    assert score(outputs, classes, [0, 1, 2]) == 0.25
    signs = ng.Dataset(x, torch.tensor([[1.0], [-1], [1], [-1]]), 2)
    assert score(torch.tensor([[0.1], [-3], [-1], [2]]), signs, [0]) == 0.5
    values = ng.Dataset(x, torch.tensor([[1.0], [2], [3], [4]]))
    assert score(values.y, values, [0]) == 1
    assert score(torch.full((4, 1), 2.5), values, [0]) == pytest.approx(0, abs=EXACT)
    assert score(torch.tensor([[4.0], [3], [2], [1]]), values, [0]) == pytest.approx(-3, abs=EXACT)
    both = torch.stack([outputs, torch.full_like(outputs, torch.nan)])
    assert score(both, classes, [1, 2, 3])[0] == 0.75
    assert torch.isnan(score(both, classes, [1, 2, 3])[1])


def data(n=6, c=2, features=3, classes=None):
    y = torch.eye(c)[torch.arange(n) % (classes or c)]
    return ng.Dataset(torch.randn(n, features), y, c)


def test_ones_own_tasks_become_a_stream():
    sets = [(data(), data()), (data(), data())]
    single = ng.continual.stream_of(sets, names=["a", "b"])
    assert [t.columns for t in single.tasks] == [(0, 1), (0, 1)]
    assert [t.name for t in single.tasks] == ["a", "b"]
    assert [t.columns for t in ng.continual.stream_of(sets, heads="per_task").tasks] == [(0, 1), (2, 3)]


@pytest.mark.parametrize(
    ("sets", "settings", "words"),
    [
        ([(data(), data())], {}, "has 1 task"),
        ([(data(), data()), (data(features=4), data(features=4))], {}, "one network learns all tasks"),
        ([(data(), data(features=5)), (data(), data())], {}, "test inputs of shape"),
        ([(data(), data()), (data(classes=1), data())], {}, "class 1 is in the test set"),
        ([(data(), data()), (ng.Dataset(torch.ones(2, 3), torch.ones(2, 2)),) * 2], {}, "not of one kind"),
        ([(data(), data()), (data(), data())], {"names": ["a"]}, "2 tasks but 1 names"),
        ([(data(), data()), (data(), data())], {"heads": "none"}, "heads must be"),
        (None, {}, "must be a list of pairs"),
        (data(), {}, "must be a list of pairs"),
    ],
)
def test_tasks_that_do_not_go_together_are_refused(sets, settings, words):
    with pytest.raises(DataError, match=words):
        ng.continual.stream_of(sets, **settings)


@pytest.mark.parametrize("n", [1, 4])
def test_regressions_without_variance_to_explain_are_refused(n):
    x, y = torch.randn(4, 3), torch.arange(4.0)[:, None]
    fine, flat = ng.Dataset(x, y), ng.Dataset(x[:n], torch.full((n, 1), 0.7))
    ng.continual.stream_of([(fine, fine), (flat, fine)])  # constant targets can be learned
    with pytest.raises(DataError, match=r"task 'task 2' has the same test targets.*targets differ"):
        ng.continual.stream_of([(fine, fine), (fine, flat)])


@pytest.mark.parametrize("columns", [(), (1, 0), (-1, 0)])
def test_columns_must_be_different_outputs(columns):
    y = torch.arange(2.0)[:, None].repeat(1, max(1, len(columns)))
    task = ng.continual.Task("t", ng.Dataset(torch.ones(2, 3), y), ng.Dataset(torch.ones(2, 3), y), columns)
    with pytest.raises(DataError, match="outputs"):
        ng.continual.TaskStream("s", (task, task))


def test_real_images(monkeypatch):
    monkeypatch.setenv("NTKGAP_DATA", str(ROOT))
    try:
        mnist = ng.continual.load_stream("rotated", "mnist", n_train=30, n_test=40, tasks=2)
        cifar = ng.continual.load_stream("split", "cifar10", n_train=20, n_test=20, shrink=4)
    except DataError as error:
        pytest.skip(str(error))
    assert mnist.tasks[0].train.x.shape == (30, 1, 28, 28)
    assert cifar.tasks[0].train.x.shape == (20, 3, 8, 8)


def test_unknown_kinds_are_refused():
    with pytest.raises(DataError, match="choose one of rotated, permuted, split, tasks, teachers"):
        ng.continual.load_stream("braided")


def test_a_network_that_says_zero_is_as_good_as_chance_whatever_the_classes_are():
    """Ties for the first class gave it all of the examples of class 0."""
    first = ng.Dataset(torch.zeros(4, 2), torch.eye(3)[[0, 0, 0, 0]], 3)
    last = ng.Dataset(torch.zeros(4, 2), torch.eye(3)[[2, 2, 2, 2]], 3)
    for classes in (first, last):
        assert score(torch.zeros(4, 3), classes, [0, 1, 2]) == pytest.approx(1 / 3, abs=EXACT)
        # Of several networks, one of which is sure: classes 0 and 2 tie.
        sure = torch.tensor([1.0, 0.0, 1.0]).expand(4, 3)
        both = score(torch.stack([torch.zeros(4, 3), sure]), classes, [0, 1, 2])
        assert both.tolist() == pytest.approx([1 / 3, 1 / 2], abs=EXACT)
    for sign in (-1.0, 1.0):
        assert score(torch.zeros(4, 1), ng.Dataset(torch.zeros(4, 2), torch.full((4, 1), sign), 2), [0]) == 0.5


def test_streams_and_data_show_themselves_in_a_line():
    stream = ng.continual.load_stream("rotated", **SMALL, tasks=3, angle=30, flatten=True)
    n = len(stream.tasks[0].train)
    assert repr(stream.tasks[0].train) == f"Dataset({n} examples, x [64], 10 classes, float32)"
    assert repr(stream.tasks[1]).startswith("Task('30°', ")
    assert "3 tasks: 0°, 30°, 60°" in repr(stream)
    assert "2 targets" in repr(ng.Dataset(torch.zeros(3, 1), torch.zeros(3, 2)))
