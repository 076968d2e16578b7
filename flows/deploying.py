"""`podcast deploy`: the work pool, the deployments, the notification block and the automations, on a Prefect server.

All of it stands in the repository (`prefect.yaml`, `deploy/automations.yaml`); deploying again brings the server to
what stands there, and leaves whatever has another name alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from flows.errors import PipelineError
from flows.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL = "podcast"
ALERTS_BLOCK = "podcast-alerts"
AUTOMATIONS = PROJECT_ROOT / "deploy" / "automations.yaml"
SEND = "send-notification"


def deploy(settings: Settings) -> list[str]:
    """Bring the server that Prefect's own settings name to what stands in the repository; what was done, line by line.

    Raises `PipelineError` when no server answers there, or it refuses something.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    if not address:
        raise PipelineError(
            "No Prefect server is named. Start one (podcast ui starts one and deploys to it), and name it: "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    try:
        with get_client(sync_client=True) as client:
            _make_pool(client)
            deployed = _deploy_all()
            block = _save_block(settings)
            automations = _put_automations(client, settings, block)
    except PipelineError:
        raise
    except Exception as error:
        raise PipelineError(f"The Prefect server at {address} did not take it: {_in_short(error)}") from error
    _announce()
    notified = "notifications go out" if block else "no notifications go out: PODCAST_ALERT_URL is not set"
    return [
        f"Work pool    {POOL}, one run at a time",
        f"Deployments  {deployed}",
        f"Automations  {automations}; {notified}",
    ]


def _in_short(error: Exception) -> str:
    """The first lines of what a server or its absence says."""
    return f"{type(error).__name__}: " + " ".join(f"{error}".split())[:500]


def _make_pool(client: SyncPrefectClient) -> None:
    """The pool of processes; one that is there gets its limit, and keeps the rest."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    pool = WorkPoolCreate(name=POOL, type="process", base_job_template=template, concurrency_limit=1)
    try:
        client.create_work_pool(pool)
    except ObjectAlreadyExists:
        client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=1))


def _deploy_all() -> str:
    """All of `prefect.yaml`, by Prefect's own command; the names that it deployed."""
    import yaml

    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"`prefect deploy --all` failed:\n{(done.stdout + done.stderr).strip()}")
    described = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    return ", ".join(deployment["name"] for deployment in described["deployments"])


def _save_block(settings: Settings) -> str | None:
    """The block that notifications go through, made of the setting; its id, or none without the setting."""
    from flows.blocks import PodcastAlerts

    if settings.alert_url is None:
        return None
    PodcastAlerts.register_type_and_schema()
    block = PodcastAlerts(url=settings.alert_url, notify_type="warning")
    return str(block.save(ALERTS_BLOCK, overwrite=True))


def read_automations(settings: Settings, block: str | None, *, path: Path = AUTOMATIONS) -> list[dict[str, Any]]:
    """The automations of a file, filled in by the settings; those that notify are left out without a block."""
    import yaml

    seconds = round(settings.stale_hours * 3600)
    values = {"ALERTS": block or "none", "STALE_HOURS": f"{settings.stale_hours:g}", "STALE_SECONDS": str(seconds)}
    described = yaml.safe_load(Template(path.read_text(encoding="utf-8")).substitute(values))
    return [a for a in described["automations"] if block or not _notifies(a)]


def _notifies(automation: dict[str, Any]) -> bool:
    return any(action["type"] == SEND for action in automation["actions"])


def _put_automations(client: SyncPrefectClient, settings: Settings, block: str | None) -> str:
    """Each by its name: made, or brought to what the repository says; those that would notify nobody are removed."""
    from prefect.events.schemas.automations import AutomationCore

    wanted = [AutomationCore.model_validate(a) for a in read_automations(settings, block)]
    for automation in wanted:
        found = client.read_automations_by_name(automation.name)
        if found:
            client.update_automation(found[0].id, automation)
        else:
            client.create_automation(automation)
    _remove(client, [a["name"] for a in read_automations(settings, "any")], keep=[a.name for a in wanted])
    return f"{len(wanted)}"


def _remove(client: SyncPrefectClient, names: Sequence[str], *, keep: Sequence[str]) -> None:
    """Those of our automations that are on the server and no longer wanted."""
    for name in set(names) - set(keep):
        for automation in client.read_automations_by_name(name):
            client.delete_automation(automation.id)


def _announce() -> None:
    """From now on published batches are waited for."""
    from prefect.events.worker import EventsWorker

    from flows import events

    events.announce_deployment()
    EventsWorker.drain_all()
