import os

import pytest

from tests.sim_device import register

# Torch asks a registered device for its opinion in many places, so it is there in processes of its own alone.
# ``tests/test_on_a_device.py`` starts them.
HERE = "NTKGAP_SIM" in os.environ
collect_ignore_glob = [] if HERE else ["test_*.py"]
# While tests are collected, so before any runs: autograd counts the devices at its first backward pass.
SIM = register() if HERE else None


@pytest.fixture(scope="session")
def sim():
    return SIM
