"""Whether Spark, and the Java that it needs, are there for a test."""

from __future__ import annotations

import importlib.util
import shutil

import pytest


def skip_unless_installed() -> None:
    """Skip what needs Spark where it, or its Java, is not there."""
    if shutil.which("java") is None:
        pytest.skip("needs Java 17: apt-get install openjdk-17-jre-headless")
    if importlib.util.find_spec("pyspark") is None or importlib.util.find_spec("dbt.adapters.spark") is None:
        pytest.skip("needs the extra [spark]: make test-engines installs it")
