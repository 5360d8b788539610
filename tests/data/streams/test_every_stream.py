"""What every kind of stream keeps to."""

import pytest
import torch

import ntkgap as ng
from ntkgap.data import STREAMS
from ntkgap.data.streams.options import check_number
from ntkgap.errors import DataError

IMAGE_STREAMS = sorted(set(STREAMS) - {"regressions"})


def tensors(stream):
    return [x for task in stream.tasks for part in (task.train, task.test) for x in (part.x, part.y)]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


@pytest.mark.parametrize("kind", sorted(STREAMS))
def test_every_stream_keeps_the_contract(kind):
    stream = ng.load_stream(kind, n_train=30, n_test=50, seed=3, tasks=3)
    assert len(stream) == 3
    assert len({task.name for task in stream.tasks}) == 3
    assert all(len(task.train) == 30 for task in stream.tasks)
    assert all(x.dtype == torch.float32 for x in tensors(stream))
    assert stream.template().y.shape == (30, stream.n_outputs)
    assert same(stream, ng.load_stream(kind, n_train=30, n_test=50, seed=3, tasks=3))
    other = ng.load_stream(kind, n_train=30, n_test=50, seed=4, tasks=3)
    assert all(not torch.equal(a.train.x, b.train.x) for a, b in zip(stream.tasks, other.tasks, strict=True))


@pytest.mark.parametrize("kind", sorted(STREAMS))
def test_defaults_are_enough(kind):
    assert len(ng.load_stream(kind)) == 5


@pytest.mark.parametrize("kind", IMAGE_STREAMS)
@pytest.mark.parametrize("data", ["mnist", "fashion_mnist", "cifar10"])
def test_images_from_files(kind, data, all_files, monkeypatch):
    monkeypatch.setenv("NTKGAP_DATA", str(all_files))
    stream = ng.load_stream(kind, data, n_train=9, n_test=20, tasks=2)
    shape = (3, 32, 32) if data == "cifar10" else (1, 28, 28)
    assert stream.tasks[1].train.x.shape == (9, *shape)
    flat = ng.load_stream(kind, data, n_train=9, n_test=20, tasks=2, flatten=True, root=all_files)
    assert torch.equal(flat.tasks[1].test.x, stream.tasks[1].test.x.flatten(1))


@pytest.mark.parametrize(("kind", "options"), [("rotated", {"angle": 0}), ("permuted", {"fraction": 0})])
def test_where_tasks_are_one_they_share_the_test_and_no_training_image(kind, options):
    stream = ng.load_stream(kind, n_train=53, n_test=40, tasks=4, scaling="none", **options)
    plain, test = ng.load_data("digits", 4 * 53, 40, scaling="none")
    assert all(torch.equal(task.test.x, test.x) for task in stream.tasks)
    trained = torch.cat([task.train.x for task in stream.tasks])
    assert sorted(x.numpy().tobytes() for x in trained) == sorted(x.numpy().tobytes() for x in plain.x)


@pytest.mark.parametrize("kind", ["rotated", "permuted"])
def test_every_prefix_of_every_task_is_balanced(kind):
    stream = ng.load_stream(kind, n_train=53, n_test=40, tasks=4, seed=2)
    for task in stream.tasks:
        counts = task.train.y.cumsum(dim=0)
        assert (counts.amax(dim=1) - counts.amin(dim=1)).max() <= 1


@pytest.mark.parametrize("kind", IMAGE_STREAMS)
def test_one_scaling_for_all_tasks(kind):
    sizes = {"n_train": 40, "n_test": 30, "tasks": 3}
    raw = ng.load_stream(kind, scaling="none", **sizes)
    first = raw.tasks[0].train.x.double()
    scaled = ng.load_stream(kind, **sizes)
    unit = ng.load_stream(kind, scaling="unit_norm", **sizes)
    for was, now, short in zip(raw.tasks, scaled.tasks, unit.tasks, strict=True):
        expected = (was.test.x - first.mean()) / first.std(correction=0)
        torch.testing.assert_close(now.test.x, expected.float())
        torch.testing.assert_close(short.train.x, was.train.x / was.train.x.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("kind", IMAGE_STREAMS)
def test_targets_may_be_plus_and_minus(kind):
    y = ng.load_stream(kind, n_train=20, tasks=2, targets="plus_minus").tasks[1].train.y
    assert set(y.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal((y > 0).sum(dim=1), torch.ones(20, dtype=torch.long))


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("loud", {}, "unknown stream 'loud'; choose one of permuted, regressions, rotated, split"),
        (["rotated"], {}, "unknown stream"),
        (
            "rotated",
            {"fraction": 0.5},
            "no option fraction; it takes angle, flatten, root, scaling, targets, tasks",
        ),
        ("rotated", {"data": "sphere"}, "'sphere' are not images.*digits, mnist.*TaskStream.of"),
        ("rotated", {"n_train": 400}, "5 tasks of 400 training images each: .* has 1797"),
        ("rotated", {"n_train": 0}, "n_train must be an integer of at least 1"),
        ("rotated", {"n_test": True}, "n_test must be"),
        ("rotated", {"seed": -1}, "seed must be"),
        ("rotated", {"seed": True}, "seed must be"),
        ("rotated", {"tasks": 1}, "tasks must be an integer of at least 2, got 1"),
        ("rotated", {"tasks": 2.0}, "tasks must be an integer"),
        ("rotated", {"angle": -1}, "angle must be a finite number of at least 0 and below 360, got -1"),
        ("rotated", {"angle": 360, "tasks": 2}, "angle must be .* below 360"),
        ("rotated", {"angle": float("nan")}, "angle must be .* got nan"),
        ("rotated", {"angle": "22.5"}, "angle must be .* got '22.5'"),
        ("rotated", {"angle": True}, "angle must be .* got True"),
        ("rotated", {"angle": 90}, "5 tasks 90° apart end at 360°.*below 90, or fewer tasks"),
        ("rotated", {"scaling": "loud"}, "unknown scaling"),
        ("rotated", {"targets": "sign"}, "tells two classes apart"),
        ("rotated", {"flatten": "no"}, "flatten must be True or False"),
        ("rotated", {"root": "data"}, "digits come with the library"),
        ("permuted", {"fraction": 1.5}, "fraction must be .* at least 0 and at most 1, got 1.5"),
        ("permuted", {"fraction": None}, "fraction must be"),
        ("permuted", {"tasks": True}, "tasks must be"),
        ("regressions", {"data": "digits"}, "makes its own data; leave data='digits' out"),
        ("regressions", {"angle": 181}, "angle must be .* at most 180"),
        ("regressions", {"dim": 1}, "dim must be"),
        ("regressions", {"noise": float("inf")}, "noise must be a finite number of at least 0, got inf"),
        ("regressions", {"noise": -1}, "noise must be"),
        ("regressions", {"teacher": "loud"}, "unknown teacher 'loud'"),
        ("regressions", {"same_inputs": 1}, "same_inputs must be True or False"),
        ("regressions", {"tasks": 1}, "tasks must be"),
    ],
)
def test_bad_requests_are_named(kind, options, words):
    with pytest.raises(DataError, match=words):
        ng.load_stream(kind, **options)


def test_ranges_include_their_ends():
    check_number("x", 0, 0, 1)
    check_number("x", 1, 0, 1)
    with pytest.raises(DataError):
        check_number("x", 1, 0, 1, below=True)
