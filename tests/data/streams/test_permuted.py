import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.data.streams.permuted import pixel_order, rearrange


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 1.0])
def test_an_order_of_pixels_is_a_permutation_of_a_fraction(fraction):
    order = pixel_order(200, fraction, np.random.default_rng(0))
    assert sorted(order) == list(range(200))
    moved = (order != np.arange(200)).sum()
    assert moved <= round(200 * fraction)
    # Few of k places in a random permutation stay where they are: one on average.
    assert moved >= round(200 * fraction) - 6


def test_channels_are_rearranged_alike(generator):
    images = torch.rand(2, 3, 4, 5, generator=generator)
    order = np.random.default_rng(1).permutation(20)
    found = rearrange(images, order)
    for n in range(2):
        for channel in range(3):
            flat = [images[n, channel, i // 5, i % 5] for i in order]
            assert torch.equal(found[n, channel], torch.stack(flat).reshape(4, 5))


def test_tasks_are_the_first_images_in_other_orders():
    stream = ng.load_stream("permuted", n_train=20, n_test=200, tasks=3, scaling="none", seed=1)
    plain = ng.load_data("digits", 60, 200, seed=1, scaling="none")[1]
    first, second, third = (task.test for task in stream.tasks)
    assert torch.equal(first.x, plain.x)
    for task in (second, third):
        assert torch.equal(task.y, first.y)
        assert torch.equal(task.x.sort(dim=1).values, first.x.sort(dim=1).values)
        assert not torch.equal(task.x, first.x)
    assert not torch.equal(second.x, third.x)
    # The order is one for all images, so whole columns are found again.
    columns = {column.numpy().tobytes() for column in first.x.T}
    assert all(column.numpy().tobytes() in columns for column in second.x.T)


def test_a_smaller_fraction_leaves_images_more_alike():
    alike = []
    for fraction in (0.1, 0.5, 1.0):
        stream = ng.load_stream("permuted", n_train=20, n_test=50, tasks=2, scaling="unit_norm", fraction=fraction)
        first, second = (task.test.x for task in stream.tasks)
        alike.append((first * second).sum(dim=1).mean())
    assert 1 > alike[0] > alike[1] > alike[2]
