"""The read API: what is published, over HTTP, for programs."""
