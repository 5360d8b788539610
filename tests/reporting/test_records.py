"""``verdicts.json``: one form for every study, its published schema, and files of older versions."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import ntkgap as ng
from ntkgap.errors import StoreError
from ntkgap.reporting.records import VerdictRecord, read_verdicts, schema
from ntkgap.studies import STUDIES, assess, assess_variations
from ntkgap.studies.claim_keys import OLD_KEYS, present_key
from tests.here import Here
from tests.test_results import PROBLEM

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = sorted((DOCS / "results").rglob("verdicts.json"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    study = ng.OptimizationStudy(seeds=[0, 1, 2], problems=[PROBLEM])
    return ng.run(study, tmp_path_factory.mktemp("store"), engine=Here(), progress=False)


def test_what_is_written_is_read_again(runs, tmp_path):
    """Records check their own form when they are made; the pages of other studies are read in their own tests."""
    ng.report(runs, tmp_path / "report.html")
    records = read_verdicts(tmp_path / "verdicts.json")
    assert [r.sentence for r in records] == [v.sentence for v in (*assess(runs), *assess_variations(runs))]
    frame = runs.verdicts()
    points = [(r.claim, r.axis, p.at, p.state, p.seeds) for r in records for p in r.points]
    assert points == [*frame[["claim", "axis", "at", "state", "seeds"]].itertuples(index=False, name=None)]
    numbers = np.array([(p.value, p.low, p.high, r.limit) for r in records for p in r.points], dtype=float)
    np.testing.assert_array_equal(numbers, frame[["value", "low", "high", "limit"]].to_numpy())


def test_the_published_schema_is_that_of_the_records():
    path = DOCS / "verdicts.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == schema(), "write json.dumps(schema(), indent=1) to it"
    fields = schema()["$defs"]["VerdictRecord"]
    assert set(fields["required"]) == set(VerdictRecord.model_fields)
    assert all("description" in field or "$ref" in field for field in fields["properties"].values())


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: str(path.parent.relative_to(DOCS)))
def test_older_files_are_read(path):
    """States and numbers of what was published before records had one form."""
    old, new = json.loads(path.read_text(encoding="utf-8")), read_verdicts(path)
    assert len(new) == len(old)
    for before, now in zip(old, new, strict=True):
        assert now.claim == present_key(before["claim"])
        if "points" in before:
            continue
        along = before.get("variation")
        assert now.axis == (along["axis"] if along else "width")
        for there, point in zip(along["values"] if along else before["widths"], now.points, strict=True):
            assert point.state == {"undecided": "inconclusive"}.get(there["state"], there["state"])
            assert point.at == there["value" if along else "width"]
            expected = {None: None, "inf": math.inf, "-inf": -math.inf}
            assert point.value == expected.get(there["median"], there["median"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read the verdicts"),
        ('[{"claim": "c"}]', "cannot read the verdicts"),
        ('[{"claim": "c", "points": []}]', "is no verdicts.json"),
        ("3", "cannot read the verdicts"),
    ],
)
def test_other_files_are_refused(text, message, tmp_path):
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(StoreError, match=message):
        read_verdicts(tmp_path / "v.json")
    with pytest.raises(StoreError, match="cannot read the verdicts"):
        read_verdicts(tmp_path / "none.json")


def test_old_keys_of_claims_are_none_of_the_present_ones():
    studies = [study.preset("smoke") for study in STUDIES.values()]
    keys = {claim.key for study in studies for claim in study.claims()}
    keys |= {figure.key for study in studies for figure in study.figures()}
    assert not keys & set(OLD_KEYS)
    assert set(OLD_KEYS.values()) - keys == set()
