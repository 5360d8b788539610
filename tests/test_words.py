"""The words of the repository are those of the field."""

import pytest

from tests.words import faults, files, words_in


def test_every_word_is_one_of_the_field():
    assert not list(faults())
    assert len(files()) > 500, "hardly anything was searched"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("what the kernel foretold", "foretold"),
        ("def train_twin(model):", "twin"),
        ("The race is decided", "race"),
        ("the PARAMETRISATION of a layer", "PARAMETRISATION"),
        ("a grey line", "grey"),
        ("stopping times of a task", "stopping times"),
        ("`tasks_twin_forgetting` of the twin", "twin"),
    ],
)
def test_a_word_that_went_is_found(line, word):
    assert words_in(line) == [word]


@pytest.mark.parametrize(
    "line",
    [
        "a trace is raised with precision",
        'findings.scalars["race_gd_steps"]',
        "brace, improved, promise, hencefor",
    ],
)
def test_other_words_and_stored_names_are_not(line):
    assert words_in(line) == []
