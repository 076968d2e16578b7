"""Runs that Prefect takes for alive though their process is gone, as after a reboot: entered as crashed.

Prefect's own automation does that by missed heartbeats, and knows nothing of what happened while the server was away.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flows.deploying import POOL
from flows.warehouse import current_holder, is_alive

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from flows.settings import Settings

PATIENCE = timedelta(seconds=180)
"""A run that gave no sign of life for so long is looked into; heartbeats come every 30 seconds."""
MESSAGE = "Its process is gone. The next run goes on from what was committed."


def enter_as_crashed(client: SyncPrefectClient, settings: Settings, *, patience: timedelta = PATIENCE) -> list[str]:
    """The names of the runs of our pool that were alive for Prefect only, and no longer are.

    A run lives that writes the warehouse now, or that began, or sent a heartbeat, not longer than `patience` ago. While
    something writes that does not say of which run it is, as a backup, nothing is entered.
    """
    from prefect.states import Crashed

    since = datetime.now(UTC) - patience
    holder = current_holder(settings)
    if holder and not is_alive(holder):
        holder = None
    if holder and not holder.run:
        return []
    writing = holder.run if holder else None
    lost = [
        run
        for run in _unfinished(client)
        if str(run.id) != writing and _is_quiet_since(run, since) and not _has_heartbeat(client, run.id, since)
    ]
    for run in lost:
        client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
    return [run.name for run in lost]


def _unfinished(client: SyncPrefectClient) -> list[FlowRun]:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    begun = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=begun))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
    )


def _is_quiet_since(run: FlowRun, since: datetime) -> bool:
    return run.state is not None and run.state.timestamp < since


def _has_heartbeat(client: SyncPrefectClient, run_id: UUID, since: datetime) -> bool:
    """Whether the server has got one since then."""
    about = {
        "any_resource": {"id": [f"prefect.flow-run.{run_id}"]},
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "occurred": {"since": since.isoformat()},
    }
    answer = client.request("POST", "/events/filter", json={"filter": about, "limit": 1})
    return bool(answer.json()["events"])
