"""OpenLineage: what each step of a run read and wrote, told to a file of the run and to an endpoint."""

from flows.lineage.steps import of_gate, of_load, of_models, recording

__all__ = ["of_gate", "of_load", "of_models", "recording"]
