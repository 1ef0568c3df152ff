"""The command line as it was typed, for advice that can be pasted."""

import typer

from tuningfork.cli.connection import is_named_on_command_line


def typed(context: typer.Context, *, without: frozenset[str] = frozenset()) -> list[str]:
    """The words of the command line, without the key, and without the parameters of these names."""
    options: list[str] = []
    arguments: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if not is_named_on_command_line(context, name) or name in {"api_key", *without}:
            continue
        value = context.params[name]
        if parameter.param_type_name == "argument":
            arguments += value
        elif isinstance(value, bool):
            options.append(parameter.opts[0] if value else (parameter.secondary_opts or parameter.opts)[0])
        elif isinstance(value, list | tuple):
            options += [word for each in value for word in (parameter.opts[0], str(each))]
        else:
            options += [parameter.opts[0], str(value)]
    # An argument that begins with a hyphen would be taken for an option; - alone is standard input.
    return [
        "tuningfork",
        context.info_name or "",
        *options,
        *(f"./{each}" if each[:1] == "-" and each != "-" else each for each in arguments),
    ]
