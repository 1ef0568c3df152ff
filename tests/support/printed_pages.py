"""Documentation pages whose shell commands are run as they are printed."""

import re
import subprocess
import sys
from pathlib import Path

from live_server import LiveServer
from patience import PATIENCE_SECONDS

DEFAULT_SERVER = "http://127.0.0.1:8000"
COMMANDS = Path(sys.executable).parent


def page(name: str) -> str:
    """The text of a page of `docs/`."""
    return (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")


def run_script(script: str, directory: Path, server: LiveServer) -> subprocess.CompletedProcess[str]:
    """Run shell commands at home in the directory, with nothing else of this environment, on the server's machine."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={
            "HOME": str(directory),
            "PATH": f"{COMMANDS}:/usr/bin:/bin",
            "TUNINGFORK_DATA_DIR": str(server.data_directory),
        },
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def run_printed_commands(text: str, directory: Path, server: LiveServer) -> subprocess.CompletedProcess[str]:
    """Run all shell blocks of a page, one after the other in one shell, against this server."""
    script = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    assert script.count(DEFAULT_SERVER) == 1
    return run_script(script.replace(DEFAULT_SERVER, server.url), directory, server)
