"""The benchmark of the whole pipeline."""
