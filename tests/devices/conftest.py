import pytest

from tests.sim_device import register

# While tests are collected, so before any runs: autograd counts the devices at its first backward pass.
SIM = register()


@pytest.fixture(scope="session")
def sim():
    return SIM
