"""Which sites may be served in roles, and how one is asked for. What roles do is in `tests/faults/test_roles.py`.

Source: architecture §5; operations chapter §1 (exit codes), §2.
"""

from pathlib import Path

import pytest

from adapter.cli.app import exit_code
from adapter.cli.console import Exit
from adapter.errors import ConfigurationError
from adapter.role import running_role
from adapter.roles import Role


async def test_a_site_of_files_is_served_by_one_process(fresh_site: Path) -> None:
    for role in Role:
        with pytest.raises(ConfigurationError, match="data store, journal, log, vault of this site are files"):
            async with running_role(fresh_site, role):
                raise AssertionError(role)


def test_what_the_command_line_says_of_it(fresh_site: Path) -> None:
    assert exit_code(["--site", str(fresh_site), "serve", "--role", "worker"]) == Exit.CONFIGURATION
    assert exit_code(["--site", str(fresh_site), "serve", "--role", "everything"]) == Exit.USAGE
