"""What `podcast deploy` reads from the repository, and the block by which notifications go out."""

from __future__ import annotations

import socketserver
import threading
from email import message_from_string
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.blocks import PodcastAlerts
from flows.deploying import deploy, read_automations
from flows.errors import PipelineError
from flows.events import is_same_cause
from flows.settings import Settings

NAMES = {
    "podcast: lost runs",
    "podcast: runs that never began",
    "podcast: batches held back",
    "podcast: gate failed",
    "podcast: run failed",
    "podcast: maintenance failed",
    "podcast: run lost",
    "podcast: no new events",
}


def test_with_a_block_all_automations_are_there_and_name_it() -> None:
    from prefect.events.schemas.automations import AutomationCore

    read = read_automations(Settings(stale_hours=1.5), "7f8d3c3e-3f1b-4b59-93a6-6d8c8d7f0a11")
    assert {automation["name"] for automation in read} == NAMES
    automations = {a.name: a for a in map(AutomationCore.model_validate, read)}
    actions = [action for a in automations.values() for action in a.actions if action.type == "send-notification"]
    assert {str(action.block_document_id) for action in actions} == {"7f8d3c3e-3f1b-4b59-93a6-6d8c8d7f0a11"}
    assert len(actions) == 6
    stale = automations["podcast: no new events"]
    assert stale.trigger.within.total_seconds() == 5400  # type: ignore[union-attr]
    assert "1.5 hours" in stale.actions[0].subject  # type: ignore[union-attr]
    assert all(automation.description for automation in automations.values())


def test_without_a_block_only_those_are_there_that_notify_nobody() -> None:
    read = read_automations(Settings(), None)
    assert [automation["name"] for automation in read] == ["podcast: lost runs", "podcast: runs that never began"]


def test_without_a_server_it_says_how_to_name_one(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(restore_defaults={PREFECT_API_URL}), pytest.raises(PipelineError, match="PREFECT_API_URL"):
        deploy(Settings(home=tmp_path))


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    address = "http://127.0.0.1:9/api"
    with temporary_settings({PREFECT_API_URL: address}), pytest.raises(PipelineError, match=address):
        deploy(Settings(home=tmp_path))


class _Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as is needed to take one message."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.messages.append(b"".join(lines).decode())  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 taken\r\n")
            if verb == b"QUIT":
                return


def test_an_address_of_e_mail_sends_a_mail() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail) as server:
        server.messages = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        address = f"mailto://127.0.0.1:{port}?from=podcast@example.org&to=data@example.org&mode=insecure"
        PodcastAlerts(url=SecretStr(address)).notify("b.json is held back", subject="Podcast pipeline")
        server.shutdown()
    (mail,) = map(message_from_string, server.messages)  # type: ignore[attr-defined]
    assert mail["Subject"] == "Podcast pipeline"
    assert mail["To"] == "data@example.org"
    assert "b.json is held back" in "".join(
        part.get_payload(decode=True).decode()
        for part in mail.walk()
        if not part.is_multipart()  # type: ignore[union-attr]
    )


@pytest.mark.parametrize(
    ("last", "same"),
    [
        (None, False),
        ({"status": "passed", "message": None}, False),
        ({"status": "failed", "message": "Gate gold failed.\n- 3 rows"}, True),
        ({"status": "failed", "message": "Gate raw failed.\n- 3 rows"}, False),
        ({"status": "failed", "message": "Gate gold failed.\n- 4 keys"}, False),
        ({"status": "failed", "message": None}, False),
        ({"status": "crashed", "message": "Gate gold failed.\n- 4 rows"}, False),
    ],
)
def test_a_failure_has_the_cause_that_its_first_lines_say(last: dict[str, object] | None, *, same: bool) -> None:
    assert is_same_cause("Gate gold failed.\n- 4 rows", last) is same
