"""The build hook: compiles the optional C++ parts of the package when there is a compiler.

`python hatch_build.py` does the same in place, for a checkout that is used without being installed.
"""

import importlib.util
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

_ROOT = Path(__file__).parent
_BUILDING = Path("src", "tuningfork", "modeling", "compiled", "building.py")


def _building() -> ModuleType:
    # By its path, since importing the package would import torch.
    described = importlib.util.spec_from_file_location("tuningfork_building", _ROOT / _BUILDING)
    if described is None or described.loader is None:
        raise FileNotFoundError(f"{_ROOT / _BUILDING} is missing from the sources; unpack or check them out again")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def build_in_place() -> Path | None:
    """Compile the library beside its sources, and return its path; None: there is none, and a line has said why."""
    building = _building()
    try:
        building.build()
    except building.NotCompiled as reason:
        sys.stderr.write(f"tuningfork is built without its compiled parts, and is slower on CPUs: {reason}\n")
        return None
    path: Path = building.LIBRARY
    return path


def _platform() -> str:
    """The platform part of a wheel's tag, such as `linux_x86_64`."""
    if sys.platform == "darwin":
        # Comes with hatchling. The tag of a wheel for macOS names the oldest release that it runs on.
        from packaging.tags import platform_tags  # noqa: PLC0415

        return next(iter(platform_tags()))
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:
    # Called as a program, where hatchling is not installed.
    pass
else:

    class CompiledParts(BuildHookInterface):
        """Adds the library to a wheel, whose tag then names the platform. An editable install has it in place."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """See hatchling's `BuildHookInterface.initialize`."""
            library = build_in_place()
            if library is not None and version == "standard":
                # git ignores the library; without this line hatchling leaves it out.
                build_data["artifacts"].append(f"/{library.relative_to(_ROOT).as_posix()}")
                build_data["pure_python"] = False
                build_data["tag"] = f"py3-none-{_platform()}"


if __name__ == "__main__":
    build_in_place()
