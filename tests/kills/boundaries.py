"""Where a run can be killed by name: just before or just after a function of the pipeline is called.

The functions are wrapped in the process that is going to die only; the pipeline itself knows nothing of it.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Boundary:
    """Die `when` ("before" or "after") the first call of `function` that has to do with `about`, if that is given."""

    when: str
    function: str
    about: str | None = None

    def __str__(self) -> str:
        return f"{self.when} {self.function}" + (f" ({self.about})" if self.about else "")

    def lay(self) -> None:
        """Wrap the function where its callers look it up. Raises `AttributeError` if there is none."""
        module, name = self._place()
        setattr(module, name, self._deadly(getattr(module, name)))

    def check(self) -> None:
        """Raise `AttributeError` or `ModuleNotFoundError` if the function is not there: nothing would be tested."""
        module, name = self._place()
        getattr(module, name)

    def _place(self) -> tuple[Any, str]:
        module, _, name = self.function.rpartition(".")
        return importlib.import_module(f"flows.{module}"), name

    def _deadly(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            is_it = self.about is None or _is_about(self.about, (*args, *kwargs.values()))
            if is_it and self.when == "before":
                die()
            result = real(*args, **kwargs)
            if is_it:
                die()
            return result

        return wrapper


def die() -> None:
    """As the out-of-memory killer, or a machine that loses power, ends a process: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def _is_about(what: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a gate, layer or catalog is among the arguments, by itself or as the gate of a verdict."""
    return any((isinstance(a, str) and a == what) or getattr(a, "gate", None) == what for a in arguments)


# Each state that a kill can leave on disk stands here once: "after" one step is "before" the next.
BOUNDARIES = (
    # Discovery and loading; what `ledger.record` does is inside the transaction that loads.
    Boundary("after", "tasks.plan_run"),
    Boundary("before", "ledger.record"),
    Boundary("after", "ledger.record"),
    Boundary("after", "loading.load_files"),
    # The reference data: its version is entered and nothing built; all is built, and not marked so.
    *(Boundary(when, "transform.build_reference") for when in ("before", "after")),
    # Each layer, then its gate: between the two, before the results are kept, and after that.
    *(Boundary("after", "transform.build_layer", layer) for layer in ("raw", "bronze", "silver", "gold")),
    *(Boundary("after", "checkpoints.validate", gate) for gate in ("raw", "validated", "cleansed", "gold")),
    *(Boundary("after", "history.record_results", gate) for gate in ("raw", "gold")),
    # Holding back: the evidence is there and the ledger does not know; in the transaction; all is done.
    *(Boundary("before", "ledger.quarantine", gate) for gate in ("raw", "validated", "cleansed")),
    *(Boundary("after", "ledger.quarantine", gate) for gate in ("validated", "cleansed")),
    *(Boundary("after", "quarantine.hold_back", gate) for gate in ("raw", "validated", "cleansed")),
    # Taken out of the layers that were built with it already, the held-back batch is judged again without.
    Boundary("before", "artifacts.report_gate", "cleansed"),
    Boundary("before", "transform.build_layer", "gold"),
    # Publishing: the copy, its settling in a transaction, the mark, the rename, and the same settling in the warehouse.
    Boundary("after", "publish._start"),
    Boundary("before", "publish._copy_tables"),
    Boundary("after", "publish._copy_tables"),
    Boundary("after", "ledger.settle", "published"),
    Boundary("after", "publish._settle", "published"),
    Boundary("before", "publish._mark"),
    Boundary("before", "publish._replace"),
    Boundary("after", "publish._replace"),
    Boundary("after", "ledger.settle", "podcast"),
    Boundary("after", "history.record_run", "podcast"),
    Boundary("after", "publish._settle", "podcast"),
    # Reporting: Data Docs, site, artifacts.
    Boundary("after", "site.data_docs.build"),
    Boundary("after", "site.build.build"),
    Boundary("after", "artifacts.report_summary"),
)
