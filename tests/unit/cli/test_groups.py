"""`tuningfork groups`, on a data directory without a server."""

import pytest
from typer.testing import CliRunner

from tuningfork.cli import app


@pytest.fixture
def groups(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, ["groups", *arguments, "--data-dir", str(tmp_path)])

    return run


def test_members_come_and_go(groups):
    said = groups("add", "Team@example.com", "bob@example.com", "ada@example.com")
    assert (said.exit_code, said.stdout) == (0, "")
    assert groups("list").stdout == "team@example.com\t2\n"
    assert groups("list", "team@example.com").stdout == "ada@example.com\nbob@example.com\n"

    assert groups("remove", "team@example.com", "ada@example.com", "bob@example.com").exit_code == 0
    assert groups("list").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "team", "ada@example.com"), "group must be an address such as ada@example.com"),
        (("add", "all@example.com", "team@example.com"), "groups do not nest"),
        (("remove", "team@example.com", "bob@example.com"), "bob@example.com is not in team@example.com"),
        (("list", "nobody@example.com"), "There is no group nobody@example.com"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(groups, arguments, said):
    groups("add", "team@example.com", "ada@example.com")

    refused = groups(*arguments)

    assert refused.exit_code == 1
    assert said in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("arguments", [("add", "team@example.com"), ("remove", "team@example.com"), ("add",)])
def test_a_change_without_members_is_wrong_usage(groups, arguments):
    assert groups(*arguments).exit_code == 2
