"""The Prefect server, as the watcher needs it: whether a run is on its way, how one ended, and asking for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from flows.errors import WatchError
from flows.ui import running_api
from flows.warehouse import utc_now

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.settings import Settings

FLOW = "podcast-pipeline"
DEPLOYMENT = "pipeline"
LOADING_DEPLOYMENTS = (DEPLOYMENT, "full-refresh")
"""Those whose runs load new files."""
TAG = "files-landed"


@dataclass(frozen=True)
class Ended:
    """How a run ended, in words for a person."""

    completed: bool
    words: str


@dataclass(frozen=True)
class Server:
    """A client that is open as long as the watcher runs. Every method raises `WatchError` when there is no answer."""

    client: SyncPrefectClient
    api: str

    def runs_on_their_way(self) -> int:
        """The number of runs that will load what is there, or are at it: due, pending, waiting or running.

        Those that the schedule has planned for later do not count.
        """
        from prefect.client.schemas.filters import (
            DeploymentFilter,
            DeploymentFilterName,
            FlowFilter,
            FlowFilterName,
            FlowRunFilter,
            FlowRunFilterExpectedStartTime,
            FlowRunFilterState,
            FlowRunFilterStateType,
        )
        from prefect.client.schemas.objects import StateType

        unfinished = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        soon = datetime.now(UTC) + timedelta(seconds=1)
        with self._answering():
            return self.client.count_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
                deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=list(LOADING_DEPLOYMENTS))),
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished)),
                    expected_start_time=FlowRunFilterExpectedStartTime(before_=soon),
                ),
            )

    def ended(self, run_id: str) -> Ended | None:
        """How the run ended; None while it has not. One that somebody deleted has ended without completing."""
        from prefect.exceptions import ObjectNotFound

        with self._answering():
            try:
                run = self.client.read_flow_run(UUID(run_id))
            except ObjectNotFound:
                return Ended(completed=False, words="it was deleted")
        state = run.state
        if state is None or not state.is_final():
            return None
        return Ended(state.is_completed(), ": ".join(filter(None, (state.name, state.message))))

    def ask(self, files: int) -> tuple[str, str]:
        """Ask for a run because of so many files; its id and its name."""
        from prefect.states import Scheduled

        name = f"{files:,} new {'file' if files == 1 else 'files'}, {utc_now():%Y-%m-%d %H:%M:%S}"
        with self._answering():
            deployment = self.client.read_deployment_by_name(f"{FLOW}/{DEPLOYMENT}")
            run = self.client.create_flow_run_from_deployment(
                deployment.id, state=Scheduled(), name=name, tags=[TAG],
                idempotency_key=name,  # a request that was taken and not answered is sent once more
            )  # fmt: skip
        return str(run.id), run.name

    def enter_lost_runs(self, settings: Settings) -> list[str]:
        """The names of the runs that were entered as crashed, since their process is gone."""
        from flows import lost_runs

        with self._answering():
            return lost_runs.enter_as_crashed(self.client, settings)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """What keeps a server from answering, in words."""
        import httpx
        from prefect.exceptions import ObjectNotFound, PrefectException

        try:
            yield
        except ObjectNotFound:
            raise WatchError(
                f"The Prefect server {self.api} has no deployment {FLOW}/{DEPLOYMENT}. Deploy it: podcast deploy"
            ) from None
        except httpx.HTTPStatusError as error:
            status = f"{error.response.status_code} {error.response.reason_phrase}"
            hint = " Set PREFECT_API_AUTH_STRING." if error.response.status_code in (401, 403) else ""
            raise WatchError(f"The Prefect server {self.api} answers: {status}.{hint}") from None
        except (httpx.HTTPError, PrefectException, OSError) as error:
            raise WatchError(
                f"The Prefect server {self.api} does not answer: {error or type(error).__name__}."
            ) from None


@contextmanager
def connected(settings: Settings) -> Iterator[Server]:
    """The server that Prefect's own settings name, or else that of `podcast ui` for this home.

    It need not answer yet. Raises `WatchError` when none is named.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    api = PREFECT_API_URL.value() or running_api(settings)
    if not api:
        raise WatchError(
            "No Prefect server is named that could start runs. Set PREFECT_API_URL to its address, as in "
            "http://127.0.0.1:4200/api, or start one, with a watcher: podcast ui"
        )
    # The watcher does its own waiting, so that it can say what it waits for; the client's one retry is for
    # connections that went stale, and for a token that has run out.
    with (
        temporary_settings({PREFECT_API_URL: api, PREFECT_CLIENT_MAX_RETRIES: 1}),
        get_client(sync_client=True) as client,
    ):
        yield Server(client, api)
