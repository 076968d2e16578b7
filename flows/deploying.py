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
from uuid import UUID

from flows.errors import PipelineError
from flows.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation, AutomationCore

POOL = "podcast"
ALERTS_BLOCK = "podcast-alerts"
AUTOMATIONS = PROJECT_ROOT / "deploy" / "automations.yaml"
SEND = "send-notification"


def deploy(settings: Settings, *, alerts: bool = True) -> list[str]:
    """Bring the server that Prefect's own settings name to what stands in the repository; what was done, line by line.

    Without `alerts` nothing is notified any more, and the address is removed from the server. Raises `PipelineError`
    when no server answers there, or it refuses something.
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
            block = _save_block(client, settings) if alerts else None
            if not alerts:
                _remove_block(client)
            automations = _put_automations(client, settings, block)
    except PipelineError:
        raise
    except Exception as error:
        raise PipelineError(f"The Prefect server at {address} did not take it: {_in_short(error)}") from error
    _announce()
    no_block = "PODCAST_ALERT_URL is not set" if alerts else "as asked for"
    notified = "notifications go out" if block else f"no notifications go out: {no_block}"
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


def _save_block(client: SyncPrefectClient, settings: Settings) -> str | None:
    """The block that notifications go through, made of the setting; its id.

    Without the setting that of the server stays as it is: who deploys from another terminal switches nothing off.
    """
    from flows.blocks import PodcastAlerts

    if settings.alert_url is None:
        return _find_block(client)
    PodcastAlerts.register_type_and_schema()
    block = PodcastAlerts(url=settings.alert_url, notify_type="warning")
    return str(block.save(ALERTS_BLOCK, overwrite=True))


def _find_block(client: SyncPrefectClient) -> str | None:
    from prefect.exceptions import ObjectNotFound

    try:
        return str(client.read_block_document_by_name(ALERTS_BLOCK, block_type_slug=ALERTS_BLOCK).id)
    except ObjectNotFound:
        return None


def _remove_block(client: SyncPrefectClient) -> None:
    """The address that notifications went to, off the server."""
    if block := _find_block(client):
        client.delete_block_document(UUID(block))


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
        if not found:
            client.create_automation(automation)
            continue
        as_paused = automation.model_copy(update={"enabled": found[0].enabled})
        if not _is_same(as_paused, found[0]):  # one that is changed forgets what it waits for
            client.update_automation(found[0].id, as_paused)
        for double in found[1:]:  # as of two first deployments at the same time
            client.delete_automation(double.id)
    _remove(client, [a["name"] for a in read_automations(settings, "any")], keep=[a.name for a in wanted])
    return f"{len(wanted)}"


def _is_same(wanted: AutomationCore, found: Automation) -> bool:
    """Whether the server has it as it is wanted; what the server adds (ids, times) does not count."""
    ours = wanted.model_dump(mode="json")
    theirs = found.model_dump(mode="json", include=set(ours))
    return bool(_without_ids(ours) == _without_ids(theirs))


def _without_ids(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {name: _without_ids(item) for name, item in value.items() if name != "id"}
    if isinstance(value, list):
        return sorted((_without_ids(item) for item in value), key=repr)
    return value


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
