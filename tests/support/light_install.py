"""A program: the command line in an environment that has only what a client is installed with.

Run as `python light_install.py COMMAND...`. Packages that the base dependencies of `pyproject.toml` do not bring cannot
be imported, as if they were not installed. The variables `NO_HOME` and `PLATFORM` change the machine: a user without a
home directory, another platform; `EVERYTHING` leaves all packages.
"""

import os
import sys
import tomllib
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def base_packages():
    """The distributions that an installation without extras brings, with what they need themselves."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found, waiting = set(), [Requirement(each) for each in wanted]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue
        if name in found and not requirement.extras:
            continue
        found.add(name)
        extras = (*requirement.extras, "")
        waiting += [
            each
            for each in map(Requirement, needed)
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras)
        ]
    return found


class OnlyBase(PathFinder):
    """Finds no module of a distribution that a client is not installed with."""

    def __init__(self):
        allowed = base_packages()
        self.hidden = {
            module
            for module, distributions in packages_distributions().items()
            if module != "tuningfork" and not allowed & {canonicalize_name(each) for each in distributions}
        }

    def find_spec(self, name, _path=None, _target=None):
        if name.partition(".")[0] in self.hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    if not os.environ.get("EVERYTHING"):
        sys.meta_path.insert(0, OnlyBase())
    if os.environ.get("NO_HOME"):
        # No entry of the user database has this number, and HOME is not set.
        os.environ.pop("HOME", None)
        os.getuid = lambda: 2**31 - 7

    from tuningfork.cli import main

    main(sys.argv[1:], platform=os.environ.get("PLATFORM", sys.platform))
