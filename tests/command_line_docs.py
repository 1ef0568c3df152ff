"""`docs/command-line.md` as it should be, made from the commands and the settings themselves.

Run as a script, it writes the file; a test compares.
"""

from pathlib import Path

from typer.main import get_command

from tuningfork.cli import app
from tuningfork.settings import Settings

PATH = Path(__file__).parents[1] / "docs" / "command-line.md"

DEFAULTS_IN_WORDS = {
    "data_dir": "`~/.local/share/tuningfork`",
    "database_url": "SQLite",
    "catalog": "none",
    "base_model": "none",
    "trainer_threads": "all usable cores",
    "generator_threads": "all usable cores",
    "resident_adapter_mebibytes": "an eighth of the memory",
    "pinned_models": "none",
}
"""Settings whose default is computed, or nothing."""

HEAD = """# Command line and settings

Made from the program itself by `tests/command_line_docs.py`.

What a command prints on standard output is its result and nothing else; progress, advice and errors go to standard
error. Exit codes: 0 done, 1 an error of the user's or the service's, 2 wrong usage, 130 interrupted. An option on the
command line wins over its variable, the variable over the default.
"""


def render():
    return "\n".join([HEAD, *(_command(path, command) for path, command in commands()), _settings()])


def commands():
    """Every command with its full name, in the order of the help."""
    return list(_walk("tuningfork", get_command(app)))


def _walk(path, command):
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield path, command
        return
    for name, subcommand in subcommands.items():
        yield from _walk(f"{path} {name}", subcommand)


def variable(path, parameter):
    """The variable that sets an option: its own, or the one made of the command's name and the option's."""
    if parameter.envvar:
        return parameter.envvar
    return "_".join([*path.split(), parameter.name]).replace("-", "_").upper()


def _command(path, command):
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    usage = " ".join([path, *(argument.metavar for argument in arguments)])
    lines = [f"## {usage}", "", _unwrapped(command.help), ""]
    lines += [f"- `{argument.metavar}`: {argument.help}" for argument in arguments]
    if arguments:
        lines.append("")
    if options:
        lines += ["| option | variable | default | |", "|---|---|---|---|"]
        lines += [_option(path, option) for option in options]
        lines.append("")
    return "\n".join(lines)


def _unwrapped(text):
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _option(path, option):
    metavar = f" {option.metavar}" if option.metavar else ""
    # A switch that can be turned off as well as on has two names.
    name = f"`{'/'.join([', '.join(option.opts), *option.secondary_opts])}{metavar}`"
    return f"| {name} | `{variable(path, option)}` | {_default(option)} | {option.help} |"


def _default(option):
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return option.show_default
    return "" if option.default in {None, "", False} or option.show_default is False else f"`{option.default}`"


def _settings():
    lines = ["## Settings of the server", "", "| variable | default | |", "|---|---|---|"]
    prefix = Settings.model_config["env_prefix"]
    for name, field in Settings.model_fields.items():
        own = field.get_default(call_default_factory=True)
        default = DEFAULTS_IN_WORDS.get(name, f"`{own}`" if own not in ((), frozenset()) else "nothing")
        lines.append(f"| `{prefix}{name.upper()}` | {default} | {field.description} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
