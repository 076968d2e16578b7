"""The podcast pipeline: from raw listening events to a star schema that passed every gate."""
