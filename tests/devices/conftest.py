import pytest

from tests.sim_device import register


@pytest.fixture(scope="session")
def sim():
    return register()
