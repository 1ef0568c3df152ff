"""Sentences for callers name no directory of the server, and everything else in them stays."""

from dataclasses import replace

import pytest

from fakes import ECHO_BASE
from tuningfork.domain.server_paths import without_directories, without_location


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("there is no directory /srv/models/x; check its location", "there is no directory x; check its location"),
        ("(/srv/models/x) lacks config.json", "(x) lacks config.json"),
        ("No such file or directory: '/srv/a b/x.json'", "No such file or directory: 'a b/x.json'"),
        ("open('/data/jobs/1/adapter')", "open('adapter')"),
        ("see https://example.org/a/b/c", "see https://example.org/a/b/c"),
        ("models/a and/or tunedModels/b/c", "models/a and/or tunedModels/b/c"),
        ("</s> and <a/b/c>", "</s> and <a/b/c>"),
        ("3 / 4, /", "3 / 4, /"),
    ],
)
def test_of_an_absolute_path_only_the_last_name_is_told(text, told):
    assert without_directories(text) == told


@pytest.mark.parametrize("location", ["/srv/my models/x", "/srv/my models/x/"])
def test_a_base_is_called_by_its_public_name_instead_of_its_directory(location):
    base = replace(ECHO_BASE, location=location)

    told = without_location("there is no directory /srv/my models/x; see /srv/y/z", base)

    assert told == f"there is no directory {base.name}; see z"


@pytest.mark.parametrize("location", ["embedded", "org/model"])
def test_a_hub_id_is_told_as_it_is(location):
    assert without_location("embedded org/model", replace(ECHO_BASE, location=location)) == "embedded org/model"
