"""`docs/command-line.md` as it should be, made from the commands and the settings themselves.

Run as a script, it writes the file; a test compares.
"""

from pathlib import Path

from typer.main import get_command

from tuningfork.cli import app
from tuningfork.cli.help import default_in_words, variable_of
from tuningfork.settings import Settings

PATH = Path(__file__).parents[2] / "docs" / "command-line.md"

DEFAULTS_IN_WORDS = {
    "data_dir": "`~/.local/share/tuningfork`",
    "database_url": "SQLite",
    "trainer_threads": "all usable cores",
    "generator_threads": "all usable cores",
    "resident_adapter_mebibytes": "an eighth of the memory",
    "requests_per_minute": "no limit",
    "tokens_per_minute": "no limit",
    "concurrent_tuning_jobs_per_key": "no limit",
}
"""Settings whose default is computed, or means more than that there is none."""

BAR = r"\|"
"""A bar in a cell of a table."""

HEAD = """# Command line and settings

Made from the program itself by `tests/support/command_line_docs.py`.

What a command prints on standard output is its result and nothing else; progress, advice and errors go to standard
error. Exit codes: 0 done, 1 an error of the user's or the service's, 2 wrong usage, 130 interrupted. An option on the
command line wins over its variable, the variable over the file of settings, the file over the default.

A variable that begins with `TUNINGFORK_` and is not on this page is refused: a misspelled one would do nothing. Where
only a client is installed, none is refused, since it does not know the settings. Those that Kubernetes sets for each
Service are ignored.

## What is printed

- On a terminal, lists are tables that fit its width. Names stay in one piece: where they leave too little room for
  the other columns, each row is written as a list of its fields. Elsewhere a list is one line a row, its fields
  separated by tabs, without headings, nothing cut.
- `--json` prints the result as JSON in ASCII, on every command that has one. Where the API has a message for it,
  that is the API's own answer. A list is an object with one key, so that more can be added. With `--json` too, an
  error is a sentence on standard error and an exit code; standard output is then empty, unless a run or an answer
  that has been printed is itself what failed.
- Every text can be written in every encoding. If that of the stream lacks a character, those of bars, tables and
  curves are written as similar ones of ASCII, others by their number: `\\u4e03`.
- A reader that closes the pipe, as in `tuningfork models | head -1`, ends a command quietly, with exit code 1. A
  run goes on at the server.
- `NO_COLOR` turns colours off. On a terminal that cannot move its cursor (`TERM=dumb`), progress is written in
  lines.

`tuningfork completion` prints a script with which bash, zsh or fish complete commands and options.
"""


SETTINGS_HEAD = """## Settings of the server

Each can be set by its variable and in a file, some by options of `tuningfork serve` too. `--config` or
`TUNINGFORK_CONFIG` names the file; no other place is looked at. It is TOML, with the names in the first column as keys:

```toml
# tuningfork serve --config tuningfork.toml
host = "0.0.0.0"
data_dir = "data"
base_model = ["qwen=Qwen/Qwen3-0.6B", "mine=models/mine"]
requests_per_minute = 600
```

Lists are arrays, or texts separated by blanks. Relative paths are relative to the file, apart from a
SQLite file in `database_url`, which is relative to the working directory. A key that is no setting is
refused. The other commands for operators (`keys`, `groups`, `backup` and so on) need the same file, since it may name
the data directory and the database; `export TUNINGFORK_CONFIG=...` gives it to all of them. The catalog of base models
and the rater have files of their own, which the settings `catalog` and `safety` name.
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
    metavar = "" if option.is_flag else f" {option.metavar}"
    # A switch that can be turned off as well as on has two names.
    name = f"`{'/'.join([', '.join(option.opts), *option.secondary_opts])}{metavar}`"
    return _row(name, f"`{variable(path, option)}`", default_in_words(option), option.help)


def _row(*cells):
    """A row of a table; a bar within a cell would begin the next one."""
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def variable(path, option):
    """The variable that sets an option: its own, or the one made of the command's name and the option's."""
    return variable_of(option, path.replace(" ", "_").replace("-", "_").upper())


def _settings():
    lines = [SETTINGS_HEAD, "| setting | variable | default | |", "|---|---|---|---|"]
    prefix = Settings.model_config["env_prefix"]
    for name, field in Settings.model_fields.items():
        own = field.get_default(call_default_factory=True)
        lines.append(_row(f"`{name}`", f"`{prefix}{name.upper()}`", _default(name, own), field.description))
    return "\n".join([*lines, ""])


def _default(name, own):
    if name in DEFAULTS_IN_WORDS:
        return DEFAULTS_IN_WORDS[name]
    if own is None or own == []:
        return "none"
    return f"`{str(own).lower() if isinstance(own, bool) else own}`"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
