"""The files in `deploy/` agree with the program: settings, paths, extras, ports; and their own languages take them."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SETTINGS = set(re.findall(r"TUNINGFORK_[A-Z_]+", (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")))


def instructions():
    """The Containerfile's instructions, each as its word and the rest."""
    lines = (DEPLOY / "Containerfile").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]


def those(word):
    return [rest for each, rest in instructions() if each == word]


def variables():
    return dict(pair.split("=", 1) for rest in those("ENV") for pair in shlex.split(rest))


@pytest.mark.parametrize("file", sorted(DEPLOY.iterdir()), ids=lambda file: file.name)
def test_every_setting_that_a_file_names_is_one(file):
    named = set(re.findall(r"TUNINGFORK_[A-Z_]+", file.read_text(encoding="utf-8")))

    assert named - SETTINGS == set()


def test_what_the_image_copies_is_there_and_is_not_ignored():
    kept = {line[1:] for line in (DEPLOY / "Containerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = {source for rest in those("COPY") if "--from" not in rest for source in rest.split()[:-1]}

    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert copied == kept
    # The package's metadata names its readme.
    assert PROJECT["readme"] in copied


def test_the_images_commands_are_shell():
    for command in those("RUN"):
        assert subprocess.run(["sh", "-n", "-c", command], check=False, timeout=300).returncode == 0, command


def test_the_image_installs_extras_that_there_are():
    (extras,) = [found for rest in those("RUN") for found in re.findall(r"/source\[([\w,]+)\]", rest)]

    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    assert "server" in extras.split(",")


def test_the_image_is_for_a_user_who_owns_the_volume_and_nothing_else():
    (user,) = those("USER")
    (volume,) = those("VOLUME")
    order = [word for word, _ in instructions()]

    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert variables()["TUNINGFORK_DATA_DIR"].startswith(f"{volume}/")
    assert variables()["HOME"] == volume
    assert variables()["HF_HOME"].startswith(f"{volume}/")
    # Nothing is done as root after it, and the data's directory is made before.
    assert "RUN" not in order[order.index("USER") :]
    assert any(f"--mode 0700 {volume}" in rest for rest in those("RUN"))


def test_the_image_begins_and_is_checked_in_form_that_passes_signals_on():
    (check,) = those("HEALTHCHECK")

    assert json.loads(those("ENTRYPOINT")[0]) + json.loads(those("CMD")[0]) == ["tuningfork", "serve"]
    assert json.loads(check.partition("CMD ")[2])[0] == "python"
    assert those("EXPOSE") == [variables()["TUNINGFORK_PORT"]]


def test_the_composition_has_only_known_keys_and_its_names_agree():
    made = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    server, database = made["services"]["server"], made["services"]["database"]

    assert made.keys() == {"name", "services", "volumes"}
    assert server.keys() | database.keys() <= {
        *("build", "image", "environment", "ports", "volumes", "depends_on", "restart", "stop_grace_period"),
        *("healthcheck", "init", "read_only", "tmpfs", "cap_drop", "security_opt"),
    }
    assert server["depends_on"]["database"] == {"condition": "service_healthy"}
    assert (DEPLOY / server["build"]["context"]).resolve() == ROOT
    assert (ROOT / server["build"]["dockerfile"]).is_file()
    assert server["build"]["args"].keys() <= {name for rest in those("ARG") for name in [rest.partition("=")[0]]}
    volumes = {each.partition(":")[0] for service in (server, database) for each in service["volumes"]}
    assert volumes == made["volumes"].keys()
    assert server["volumes"] == [f"data:{those('VOLUME')[0]}"]
    url, its = server["environment"]["TUNINGFORK_DATABASE_URL"], database["environment"]
    assert url.startswith(f"postgresql+psycopg://{its['POSTGRES_USER']}:")
    assert url.endswith(f"@database/{its['POSTGRES_DB']}")
    # Connections come from the engine's bridge, also those of a proxy on the same machine.
    assert server["environment"]["FORWARDED_ALLOW_IPS"] == "*"
    # Reached by this machine only.
    assert [port for port in server["ports"] if not port.startswith("127.0.0.1:")] == []


def test_what_the_composition_asks_for_is_in_a_file_that_git_ignores():
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    section = page.partition("## With PostgreSQL\n")[2].partition("\n## ")[0]

    assert {name for name in asked if f"\n    {name}=" in section} == asked
    assert "\n/deploy/.env\n" in (ROOT / ".gitignore").read_text(encoding="utf-8")


def test_commands_of_composition_in_the_documentation_name_its_file():
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    commands = re.findall(r"docker compose[^\n`]*", page)

    assert commands
    assert [each for each in commands if not each.startswith("docker compose -f deploy/compose.yaml ")] == []


def test_operators_commands_beside_the_service_have_its_settings():
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    section = page.partition("## A systemd service\n")[2].partition("\n## ")[0].replace("\\\n", "")
    commands = re.findall(r"^ {4}(.*/opt/tuningfork/bin/tuningfork .*)$", section, re.MULTILINE)

    assert commands
    assert [each for each in commands if f"EnvironmentFile={unit()['Service']['EnvironmentFile']}" not in each] == []


def test_the_databases_check_does_not_meet_the_server_that_sets_it_up():
    made = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))

    assert "--host 127.0.0.1" in made["services"]["database"]["healthcheck"]["test"][-1]


def unit():
    parsed = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
    parsed.optionxform = str
    parsed.read(DEPLOY / "tuningfork.service")
    return parsed


def test_the_service_has_the_time_to_stop_and_only_its_directories_to_write():
    service = unit()["Service"]

    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) >= 20
    assert service["OOMPolicy"] == "continue"
    assert service["ProtectSystem"] == "strict"
    assert service["User"] == service["StateDirectory"] == service["CacheDirectory"] == "tuningfork"
    assert "TUNINGFORK_DATA_DIR=%S/tuningfork" in service["Environment"].split()


def test_a_service_whose_settings_are_refused_is_not_started_for_ever():
    whole = unit()
    pause = int(whole["Service"]["RestartSec"])

    # A refusal takes some seconds on a slow machine.
    assert (pause + 10) * int(whole["Unit"]["StartLimitBurst"]) <= int(whole["Unit"]["StartLimitIntervalSec"])


def test_systemd_takes_the_unit(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = (DEPLOY / "tuningfork.service").read_text(encoding="utf-8")
    # The program is not where the unit expects it, and nor is the user; both are systemd's to find.
    there = text.replace("/opt/tuningfork/bin/tuningfork", shutil.which("true"))
    (tmp_path / "tuningfork.service").write_text(there)

    ended = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "tuningfork.service"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    # Of other units of this machine it may complain too.
    assert [line for line in ended.stderr.splitlines() if "tuningfork.service" in line] == []
