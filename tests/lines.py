"""Lines of event files for tests that think in minutes: one user, one episode, one day, unless said otherwise."""

from __future__ import annotations

import json


def event(minute: int, *, user: str = "u1", kind: str = "play", duration: int | None = 60) -> str:
    """A valid event of its own minute."""
    return json.dumps(
        {
            "event_type": kind,
            "user_id": user,
            "episode_id": "e1",
            "timestamp": f"2024-01-08T10:{minute:02}:00Z",
            "duration": duration,
        }
    )


def lines(*texts: str) -> bytes:
    """The content of a file."""
    return "\n".join(texts).encode() + b"\n"
