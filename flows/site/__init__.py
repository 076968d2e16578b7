"""The browsable site under `<home>/site`."""
