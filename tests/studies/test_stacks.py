"""Which cells are computed at once: alike but for the seed, as many as the device has room for."""

from ntkgap.studies.device_memory import Room
from ntkgap.studies.stacks import MOST, stacks_of


def cells(widths, seeds):
    return [{"width": width, "seed": seed} for width in widths for seed in range(seeds)]


def memory(cell, seeds):
    return 1.0 + seeds * cell["width"]


def stacks(found, free, devices=1, workers=1):
    room = Room("sim", devices, free=free, total=free)
    return stacks_of(found, room, workers, memory)


def test_seeds_of_one_width_are_together():
    assert stacks(cells([2, 1], 3), 1e9) == [[0, 1, 2], [3, 4, 5]]
    mixed = [{"width": width, "seed": seed} for seed in range(2) for width in (1, 2)]
    assert stacks(mixed, 1e9) == [[0, 2], [1, 3]]
    assert stacks([], 1e9) == []


def test_a_stack_takes_no_more_than_a_workers_share_of_the_device():
    for free in (3.0, 4.9, 7.0, 20.0, 21.0, 100.0):
        for workers in (1, 2, 3):
            found = stacks(cells([4, 2], 10), free, workers=workers)
            assert sorted(i for stack in found for i in stack) == list(range(20))
            for stack in found:
                width = 4 if stack[0] < 10 else 2
                share = free / min(workers, 2)
                assert len(stack) == 1 or 1 + len(stack) * width <= share
                whole = [len(other) for other in found if (other[0] < 10) == (width == 4)]
                assert max(whole) - min(whole) <= max(whole) // 2 + 1, "nearly equal"
                largest = max(whole)
                assert largest == 10 or 1 + 10 * width > share, "not cut without need"
    assert [len(stack) for stack in stacks(cells([4], 10), 13.0)] == [3, 3, 3, 1]
    assert [len(stack) for stack in stacks(cells([4], 3), 1.0)] == [1, 1, 1]


def test_every_device_gets_some_and_none_too_many():
    assert [len(stack) for stack in stacks(cells([1], 9), 1e9, devices=3)] == [3, 3, 3]
    assert [len(stack) for stack in stacks(cells([1, 2, 4], 9), 1e9, devices=3)] == [9, 9, 9]
    assert max(len(stack) for stack in stacks(cells([1], 100), 1e9)) <= MOST
    assert len(stacks(cells([1], 100), 1e9)) == -(-100 // MOST)


def test_where_nothing_is_known_of_the_memory_as_many_as_there_are():
    """A network that cannot be built has a forecast of zero; it fails by itself."""
    room = Room("sim", 1, free=1.0, total=1.0)
    assert stacks_of(cells([1], 4), room, 2, lambda cell, seeds: 0.0) == [[0, 1, 2, 3]]
