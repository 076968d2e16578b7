"""What readers on Spark have."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from flows import publish

if TYPE_CHECKING:
    from engine_place import Place


def counted_by_readers(place: Place) -> dict[str, int]:
    """Rows of each table of what is public on Spark's side, as a session of its own reads them."""
    reading = f"""
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").getOrCreate()
public = Path(sys.argv[1]).resolve()
counts = {{name: spark.read.parquet(str(public.joinpath(*name.split(".")))).count() for name in {publish.TABLES!r}}}
print(json.dumps(counts))
"""
    current = place.home / "warehouse" / "spark" / "published" / "current"
    done = subprocess.run(
        [place.python, "-c", reading, current], env=place.environment(), cwd=place.home.parent,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))
