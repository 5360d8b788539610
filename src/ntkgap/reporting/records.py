"""The form of ``verdicts.json``: one record for each claim, problem and axis, the same for every study.

Its JSON Schema is docs/verdicts.schema.json. Files of older versions are read as well.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError, WithJsonSchema

from ntkgap.errors import StoreError, reason
from ntkgap.studies.axes import AxisVerdict
from ntkgap.studies.claim import Claim, Kind
from ntkgap.studies.claim_keys import present_key
from ntkgap.studies.statistics import Interval
from ntkgap.studies.variations import Value
from ntkgap.studies.verdict import State, Verdict, WidthResult
from ntkgap.sweep.files import number, read_json

# Infinities have no number in JSON.
Number = Annotated[
    float,
    BeforeValidator(number),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf"]}]}),
]


class Record(BaseModel):
    """A part of the file, in which no key may be missing and no other stand."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Range(Record):
    """A number with its interval."""

    value: Number
    """The number."""
    low: Number
    """Lower end of the interval."""
    high: Number
    """Upper end of the interval."""

    @classmethod
    def of(cls, interval: Interval | None) -> "Range | None":
        """The range of an interval, or none."""
        return None if interval is None else cls(value=interval.value, low=interval.low, high=interval.high)


class TrendRecord(Record):
    """The slope of the quantity over width, one a seed, tested over seeds."""

    direction: Literal["falls", "rises", "no clear trend"]
    """Whether it rises or falls with the width, or neither can be told."""
    slope: Range
    """An exponent of the width in logarithms, else the change a decade of width."""
    scale: Literal["log", "linear"]
    """Which of the two the slope is."""
    per_doubling: Number
    """What a doubling of the width does: a factor in logarithms, else a difference."""
    p: Number | None
    """Two-sided probability of so large a slope without a trend."""
    n_seeds: int
    """Number of seeds."""
    widths: list[int]
    """Smallest and largest width used."""


class Point(Record):
    """The claim at one place on the axis."""

    at: Value
    """The width, or the value of the setting."""
    state: State
    """Whether the whole interval is on one side of the limit."""
    value: Number | None
    """Median over seeds; null where nothing could be decided."""
    low: Number | None
    """Lower end of the interval of the median."""
    high: Number | None
    """Upper end of it."""
    seeds: int
    """Number of seeds."""
    unknown: int
    """Seeds without a number; each enters the interval as the worst case at both ends."""
    reason: str
    """Why the state is inconclusive; else empty."""
    confidence: Number | None
    """Probability with which the interval contains the median; null where an older file did not say."""
    looks: list[tuple[int, int]] | None
    """Seeds and rank of every look, where seeds were added while a verdict was open; else null."""


class VerdictRecord(Record):
    """One claim on one problem, judged along one axis: the width, or a setting at a fixed width."""

    study: str
    """Name of the study; numbered where a report shows several runs of it."""
    problem: str
    """Name of the network and data."""
    claim: str
    """Short name of the claim."""
    statement: str
    """The claim as a sentence that can be false."""
    source: str
    """Paper and place."""
    kind: Kind
    """A requirement of the other claims, a sufficient condition of a theorem, what theory predicts, or a hope."""
    quantity: str
    """The measured number that is judged: a column of results.csv."""
    criterion: str
    """When the claim holds, in words."""
    limit: Number
    """The criterion's limit."""
    direction: Literal["below", "above"]
    """On which side of the limit the claim holds."""
    axis: str
    """"width", or the setting that was varied, such as "model.depth"."""
    label: str
    """What a reader calls the axis."""
    width: int | None
    """The fixed width at which the setting was varied; null along the width."""
    own: Value
    """The problem's own value of the setting; null along the width."""
    state: State | None
    """The verdict at the largest width; null along a setting, of which no place is better than another."""
    status: str | None
    """The same in two or three words."""
    sentence: str
    """The verdict in a sentence, with its numbers."""
    effect: Number | None
    """Median at the largest width as a multiple of the limit."""
    holds_from: int | None
    """Smallest width from which on the claim holds at every width tested."""
    extrapolated: Range | None
    """Width from which it would hold, beyond those tested."""
    fitted_crossing: Range | None
    """Width at which the fitted power law meets the limit."""
    fitted_exponent: Range | None
    """Exponent of that law."""
    predicted_exponent: Number | None
    """Exponent that theory predicts."""
    trend: TrendRecord | None
    """The trend over width."""
    p: Number | None
    """Two-sided probability of the values at the largest width if the limit were their middle."""
    points: list[Point]
    """The places on the axis, in its order."""


VERDICTS = TypeAdapter(list[VerdictRecord])


def verdict_record(verdict: Verdict, study: str) -> VerdictRecord:
    """The record of a verdict over width."""
    return VerdictRecord(
        **_claim(verdict.claim),
        study=study,
        problem=verdict.problem,
        axis="width",
        label="width",
        width=None,
        own=None,
        state=verdict.state,
        status=verdict.status,
        sentence=verdict.sentence,
        effect=_or_none(verdict.effect),
        holds_from=verdict.holds_from,
        extrapolated=Range.of(verdict.extrapolated),
        fitted_crossing=Range.of(verdict.crossing),
        fitted_exponent=Range.of(verdict.fit.exponent if verdict.fit else None),
        predicted_exponent=verdict.claim.exponent,
        trend=_trend(verdict),
        p=_or_none(verdict.p),
        points=[_point(r.width, r) for r in verdict.widths],
    )


def axis_record(verdict: AxisVerdict, study: str) -> VerdictRecord:
    """The record of a verdict along a setting."""
    along = verdict.along
    return VerdictRecord(
        **_claim(verdict.claim),
        study=study,
        problem=along.problem,
        axis=along.axis,
        label=along.label,
        width=along.width,
        own=along.own,
        state=None,
        status=None,
        sentence=verdict.sentence,
        effect=None,
        holds_from=None,
        extrapolated=None,
        fitted_crossing=None,
        fitted_exponent=None,
        predicted_exponent=None,
        trend=None,
        p=None,
        points=[_point(value, r) for value, r in verdict.results.items()],
    )


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "claim": claim.key,
        "statement": claim.statement,
        "source": claim.source,
        "kind": claim.kind,
        "quantity": claim.quantity,
        "criterion": claim.criterion,
        "limit": claim.threshold,
        "direction": claim.direction,
    }


def _point(at: Value, result: WidthResult) -> Point:
    interval = result.interval
    return Point(
        at=at,
        state=result.state,
        value=_or_none(interval.value) if interval else None,
        low=_or_none(interval.low) if interval else None,
        high=_or_none(interval.high) if interval else None,
        seeds=result.n_seeds,
        unknown=result.n_unknown,
        reason=result.reason,
        confidence=result.confidence,
        looks=list(result.looks.schedule) if result.looks else None,
    )


def _trend(verdict: Verdict) -> TrendRecord | None:
    trend = verdict.trend
    if trend is None:
        return None
    return TrendRecord(
        direction=trend.direction,
        slope=Range(value=trend.slope.value, low=trend.slope.low, high=trend.slope.high),
        scale="log" if trend.log_scale else "linear",
        per_doubling=trend.per_doubling,
        p=_or_none(trend.p),
        n_seeds=trend.n_seeds,
        widths=list(trend.widths),
    )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def read_verdicts(path: str | Path) -> list[VerdictRecord]:
    """The records of a ``verdicts.json``, also of one that an older version of ntkgap wrote.

    Raises:
        StoreError: if there is no such file, or it has another form.
    """
    try:
        found = read_json(Path(path))
        return VERDICTS.validate_python([_renewed(record) for record in found])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StoreError(f"{path} is no verdicts.json of ntkgap: {where}: {first['msg']}") from error
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise StoreError(f"cannot read the verdicts in {path}: {reason(error)}") from error


def _renewed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record in the present form: before, those along settings had other keys than those over width."""
    record = {**record, "claim": present_key(record["claim"])}
    if "points" in record:
        return record
    along = record.get("variation")
    places = [(p["value"], p) for p in along["values"]] if along else [(p["width"], p) for p in record["widths"]]
    kept = {name: record.get(name) for name in VerdictRecord.model_fields if name != "points"}
    known = (
        {k: along[k] for k in ("axis", "label", "width", "own")} if along else {"axis": "width", "label": "width"}
    )
    states = {name: _word(record.get(name)) for name in ("state", "status")}
    study = record.get("study", "")
    limit = record["threshold"]
    points = [_renewed_point(at, point) for at, point in places]
    return {**kept, **known, **states, "study": study, "limit": limit, "points": points}


def _renewed_point(at: Value, point: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "at": at,
        "state": _word(point["state"]),
        "value": point["median"],
        "low": point["low"],
        "high": point["high"],
        "seeds": point["n_seeds"],
        "unknown": point.get("n_unknown", 0),
        "reason": point["reason"],
        "confidence": point.get("confidence"),
        "looks": point.get("looks"),
    }


def _word(state: str | None) -> str | None:
    """What a state is called now: inconclusive was called undecided."""
    return "inconclusive" if state == "undecided" else state


def schema() -> dict[str, Any]:
    """The JSON Schema of ``verdicts.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "verdicts.json of ntkgap",
        **VERDICTS.json_schema(mode="validation"),
    }
