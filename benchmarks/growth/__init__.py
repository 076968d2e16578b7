"""The benchmark of growth: whole runs on DuckDB and on Spark, with ever more events."""
