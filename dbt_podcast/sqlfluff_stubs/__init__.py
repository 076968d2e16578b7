"""What sqlfluff lacks of dbt's Jinja context: it renders the models without dbt and without a database."""

import json
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context


class Anything:
    """An object of dbt that the text does not depend on: every attribute and every call is one again."""

    # Jinja's sandbox asks for these before it calls an object.
    unsafe_callable = False
    alters_data = False

    def __getattr__(self, name: str) -> "Anything":
        return self

    def __call__(self, *_: object, **__: object) -> "Anything":  # noqa: D102 - the class says it
        return self

    def __str__(self) -> str:
        return "anything"


class Adapter:
    """Finds the macro of the engine whose SQL is linted."""

    @pass_context
    def dispatch(self, context: Context, name: str, _package: str) -> Any:  # noqa: ANN401 - a macro of Jinja
        """The macro of that name for DuckDB, in the file that asks."""
        return context[f"duckdb__{name}"]


def env_var(_name: str, default: str = "") -> str:
    """As if no variable were set."""
    return default


adapter = Adapter()
fromjson = json.loads
flags = api = target = load_relation = Anything()
