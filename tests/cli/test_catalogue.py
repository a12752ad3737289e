"""The table of commands against the commands themselves."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mlkit.cli.application import declaration_of, root_command
from mlkit.cli.catalogue import COMMANDS, Entry, Family
from mlkit.cli.declare import Declaration, build
from mlkit.cli.front_page import front_page

ENTRIES: dict[str, Entry] = {
    " ".join((name, *rest)): entry
    for name, command in COMMANDS.items()
    for rest, entry in (
        [((), command)]
        if isinstance(command, Entry)
        else [((word,), entry) for word, entry in command.commands.items()]
    )
}
each_command = pytest.mark.parametrize("name", ENTRIES)


def _help(name: str, declaration: Declaration) -> str:
    built: Any = build(name, declaration)
    return str(built.get_help(built.make_context(f"mlkit {name}", [], resilient_parsing=True)))


def test_every_command_of_the_contract_is_there() -> None:
    # One line each, in order: those who add commands at the same time seldom meet.
    contract = """
        attest
        cat
        check
        config
        copy
        deploy
        diff
        doctor
        files
        fsck
        history
        image
        index
        info
        init
        inspect
        keygen
        lineage
        list
        load
        login
        logout
        mark
        pack
        policy
        promote
        prune
        pull
        push
        registry
        remove
        rollback
        save
        sbom
        scan
        serve profile
        sign
        status
        tag
        unpack
        verify
        version
    """

    assert set(COMMANDS) == set(contract.split())


@each_command
def test_the_line_of_help_is_the_first_line_of_the_docstring(name: str) -> None:
    entry = ENTRIES[name]

    assert declaration_of(entry).help.partition("\n")[0] == entry.help


@each_command
def test_help_has_one_example_that_is_this_command(name: str) -> None:
    text = _help(name, declaration_of(ENTRIES[name]))

    examples = re.findall(r"^  \$ (.*)$", text, re.MULTILINE)
    assert len(examples) == 1
    assert f"mlkit {name}" in examples[0]


@each_command
def test_help_reads_well_at_80_columns(name: str) -> None:
    text = _help(name, declaration_of(ENTRIES[name]))

    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


@each_command
def test_every_flag_says_what_it_does(name: str) -> None:
    built: Any = build(name, declaration_of(ENTRIES[name]))

    silent = [parameter.name for parameter in built.params if not parameter.help]
    assert silent == []


@each_command
def test_every_command_takes_the_general_flags(name: str) -> None:
    built: Any = build(name, declaration_of(ENTRIES[name]))

    flags = {flag for parameter in built.params for flag in parameter.opts}
    assert {"--json", "--quiet", "-q", "--verbose", "-v", "--progress"} <= flags


def test_the_front_page_shows_every_command_and_every_flag_in_80_columns() -> None:
    page = front_page()
    root: Any = root_command()

    assert max(map(len, page.splitlines())) <= 80
    assert [name for name in COMMANDS if not re.search(rf"^  {name} ", page, re.MULTILINE)] == []
    assert [parameter.opts for parameter in root.params if parameter.opts[0] not in page] == []


def test_the_parser_gives_the_same_front_page() -> None:
    root: Any = root_command()

    assert root.get_help(root.make_context("mlkit", ["list"], resilient_parsing=True)) == front_page()


def test_a_family_lists_its_commands() -> None:
    families = {name: command for name, command in COMMANDS.items() if isinstance(command, Family)}
    root: Any = root_command()

    for name, family in families.items():
        group: Any = root.get_command(None, name)
        text = group.get_help(group.make_context(f"mlkit {name}", [], resilient_parsing=True))
        assert family.help in text
        assert all(word in text and entry.help[:40] in text for word, entry in family.commands.items())
