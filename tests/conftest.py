import gc
import importlib
import os
import sys
from types import SimpleNamespace

# Before NumPy and SciPy are loaded: their matrix library has a thread a core, which burns the core while it waits.
# On busy ones 300 eigenvalues took a hundred times the processor that they take. Processes that tests start have
# one thread too, but for those of apart.py, which are about threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Python's usual 700 new objects are a few calls of torch: the collector of cycles took a sixth of the time.
gc.set_threshold(20_000, 10, 10)

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from tests.here import Here, HereOnce  # noqa: E402

# Processes keep what they compile: each would compile the whole package anew, for over a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# The same examples every time: what fails here fails everywhere. `--hypothesis-profile=default` draws others.
hypothesis.settings.register_profile("suite", derandomize=True)
hypothesis.settings.load_profile("suite")


# A file is run by one worker: those that take longest are handed out first, so that no worker is alone at the end.
FIRST = (
    "test_on_a_device",
    "studies/test_replays",
    "jacobian_search/test_search",
    "studies/test_own_networks",
    "reporting/test_report",
    "studies/test_diagnosis",
    "test_cli",
    "test_docs",
    "continual/test_study",
    "infinite/test_threads",
    "studies/test_optimization",
    "bandits/test_neural",
)


def pytest_collection_modifyitems(items):
    """Files of ``FIRST`` first, in its order; all else as it was."""

    def place(item):
        path = item.path.with_suffix("").as_posix()
        return next((i for i, end in enumerate(FIRST) if path.endswith(f"/{end}")), len(FIRST))

    items.sort(key=place)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tests run in parallel processes: threads on top of that only get in each other's way."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _seeds_are_cheap():
    """Where there is no accelerator, torch notes the call stack of each ``manual_seed`` once for every kind of it.

    Pytest's stacks are deep: a seed took over a millisecond, for messages that nothing here can cause.
    """
    unnoted = SimpleNamespace(format_stack=lambda: [])
    with pytest.MonkeyPatch.context() as patch:
        for kind in (torch.cuda, torch.xpu, torch.mtia):
            if not kind.is_available():
                patch.setattr(kind, "traceback", unnoted, raising=False)  # not every release has it
        yield


@pytest.fixture(autouse=True, scope="session")
def _collected_tests_are_not_garbage():
    """Thousands of tests and all modules live to the end: the collector of cycles need not go through them."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def threads_change_places_often():
    """Python lets another thread on every 5 ms, which is about a call; mistakes show where it is in the midst."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture
def in_process(monkeypatch):
    """Cells are computed in this process, for tests of something else than workers."""
    monkeypatch.setattr(importlib.import_module("ntkgap.sweep.run"), "LocalEngine", Here)


@pytest.fixture
def in_process_once(monkeypatch):
    """As ``in_process``; cells that an earlier test has computed are taken from there."""
    monkeypatch.setattr(importlib.import_module("ntkgap.sweep.run"), "LocalEngine", HereOnce)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
