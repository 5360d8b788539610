"""Reading tables: files of comma-separated values, and Parquet."""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from ntkgap.data.limits import check_bytes
from ntkgap.errors import DataError, reason
from ntkgap.paths import is_file

#: Endings of the names of files that are tables.
TABLES = (".csv", ".parquet")

# What may stand between the columns; the one that the first line has most of does.
SEPARATORS = ",;\t|"


def read_table(path: Path) -> pd.DataFrame:
    """The table in a file.

    A ``.csv`` file is UTF-8 text (a byte order mark is skipped), its first line names the columns, and they are
    separated by commas, semicolons, tabs or bars. With semicolons a comma may be the decimal point of all numbers.

    Raises:
        DataError: if the file is missing, is no such table, or is larger than data may be.
    """
    if not is_file(path):
        raise DataError(f"no data file at {path.absolute()}; give the path of a table with a column of targets")
    try:
        return _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    except DataError:
        raise
    except ImportError as error:
        raise DataError(f"{path} needs a reader of Parquet: pip install pyarrow, or write it as .csv") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 (byte {error.start}); save it in that encoding") from error
    except Exception as error:  # whatever the parsers raise of what is in the file
        raise DataError(f"{path} cannot be read as a table ({reason(error)})") from error


def _read_csv(path: Path) -> pd.DataFrame:
    check_bytes(f"the contents of {path}", path.stat().st_size)
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline(1_000_000)
    if "\0" in first:
        raise ValueError("it holds zero bytes, as text in UTF-16 does; save it in UTF-8")
    separator = max(SEPARATORS, key=first.count)
    options: dict[str, Any] = {"sep": separator, "encoding": "utf-8-sig", "index_col": False}
    with warnings.catch_warnings():
        # Of rows that are longer than the first line pandas would drop the end, and only warn.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # mixed columns are refused by name later
        frame = pd.read_csv(path, **options)
        if separator != "," and any(_has_decimal_commas(frame[c]) for c in frame.columns):
            frame = pd.read_csv(path, decimal=",", **options)
    return frame


def _has_decimal_commas(column: "pd.Series[Any]") -> bool:
    """Whether a column of text has numbers like ``1,5`` alone."""
    if pd.api.types.is_numeric_dtype(column) or column.empty:
        return False
    return bool(column.dropna().astype(str).str.fullmatch(r"\s*[-+]?\d+,\d+\s*").all())


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(path)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    packed = sum(group.total_byte_size for group in groups)
    check_bytes(f"the contents of {path}", max(packed, 8 * metadata.num_rows * metadata.num_columns))
    return pd.read_parquet(path, engine="pyarrow")
