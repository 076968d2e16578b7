"""The README says what is so: settings, commands, files."""

from __future__ import annotations

import re

import click

from flows.cli import cli
from flows.settings import PROJECT_ROOT, Settings

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")


def test_every_setting_stands_in_the_table_with_its_description() -> None:
    rows = dict(re.findall(r"^\| `PODCAST_(\w+)` \| .*? \| (.+) \|$", README, re.MULTILINE))
    assert rows == {name.upper(): field.description for name, field in Settings.model_fields.items()}


def commands(group: click.Group, prefix: str) -> set[str]:
    found = set()
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix} {name}")
        else:
            found.add(f"{prefix} {name}")
    return found


def test_every_command_stands_in_the_table_and_no_other() -> None:
    documented = re.findall(r"^\| `(podcast(?: [a-z][a-z-]*)+)", README, re.MULTILINE)
    assert set(documented) == commands(cli, "podcast")


def test_every_option_of_the_table_exists() -> None:
    rows = re.findall(r"^\| `(podcast (quarantine |site |ask |api )?([\w-]+)[^`]*)`", README, re.MULTILINE)
    for line, within, command in rows:
        group = cli.commands[within.strip()] if within else cli
        assert isinstance(group, click.Group)
        options = {option for parameter in group.commands[command].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= options


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(
        r"`((?:tests|dbt_podcast|expectations)/[^`<]*)`", README
    )
    assert named
    assert [name for name in named if not (PROJECT_ROOT / name).exists()] == []
