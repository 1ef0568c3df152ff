"""`tuningfork backup`, `restore`, `check` and `set-aside`: commands that keep a server's data safe."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.operating import ConfigFile, DataDirectory, refuse, settings_of

if TYPE_CHECKING:
    from tuningfork.store.backup import Backup

_MODELS = "tunedModels/"
_NICENESS = 10
_LACKING = '"lacking": [{"model", "need", "fault"}, ...]}'

BackupAsJson = Annotated[
    bool,
    output.as_json_option(
        f'{{"path", "version", "createTime", "models", "objects", "files", "bytes", "elsewhere", {_LACKING}'
    ),
]
RestoreAsJson = Annotated[bool, output.as_json_option("that of `backup`, and filesOnly; path is the data directory")]
CheckAsJson = Annotated[bool, output.as_json_option(f"{{{_LACKING}")]
SetAsideAsJson = Annotated[
    bool,
    output.as_json_option('{"jobs", "folder"}, the number of jobs and where their files are; null if none were moved'),
]


def backup(
    to: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where to make a backup; a place that is free.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A backup to compare with its digests, instead of making one.")
    ] = None,
    *,
    no_buckets: Annotated[
        bool,
        typer.Option(
            "--no-buckets",
            help="Leave out the buckets in the data directory. Directories that TUNINGFORK_BUCKETS names, and object "
            "stores, are never copied.",
        ),
    ] = False,
    as_json: BackupAsJson = False,
    data_dir: DataDirectory = None,
    config: ConfigFile = None,
) -> None:
    """Back up a server's database and data directory while it runs, or check a backup.

    A backup is a directory with the database, all examples, adapters, checkpoints and savepoints, the objects of
    buckets, and the secrets of the server: keep it as private as the data directory.
    """
    if (to is None) == (check is None):
        refuse("give either --to PATH, where to make a backup, or --check PATH, which one to check")
    settings = settings_of(data_dir=data_dir, config=config)
    from tuningfork.server import backing_up  # noqa: PLC0415

    try:
        if check is not None:
            found = backing_up.check(check)
            output.say(f"{check} is whole: {_summary(found)}, made at {found.create_time}.")
        elif to is not None:
            found = _beside_others(lambda: backing_up.back_up(settings, to, buckets=not no_buckets))
            output.say(f"Backed up {_summary(found)}.")
            if not as_json:
                output.result(str(to))
        _say_elsewhere(found)
    except backing_up.DataError as error:
        refuse(str(error))
    if as_json:
        output.result_json(_as_json(found, found.path))
    _say_lacking(found)


def restore(
    path: Annotated[Path, typer.Argument(metavar="BACKUP", help="A backup that `tuningfork backup` has made.")],
    *,
    as_json: RestoreAsJson = False,
    data_dir: DataDirectory = None,
    config: ConfigFile = None,
) -> None:
    """Make an empty data directory and an empty database what a backup holds.

    The backup is checked first. Nothing is overwritten: a data directory or a database that holds something is refused.
    Only where the database is the one that was backed up, still in use, are the files restored beside its rows. A
    restore that was interrupted is finished by running it again.
    """
    settings = settings_of(data_dir=data_dir, config=config)
    from tuningfork.server import backing_up  # noqa: PLC0415

    try:
        restored = backing_up.restore(settings, path)
    except backing_up.DataError as error:
        refuse(str(error))
    found = restored.backup
    output.say(f"Restored {_summary(found)}, as they were at {found.create_time}, into:")
    if as_json:
        output.result_json({**_as_json(found, settings.data_dir), "filesOnly": restored.files_only})
    else:
        output.result(str(settings.data_dir))
    _say_elsewhere(found)
    if restored.files_only:
        output.say(
            "Only files were restored: the database is the one that was backed up, and its rows stay as they are now. "
            "`tuningfork check` lists what its models lack."
        )
    _say_lacking(found)


def check_data(
    digests: Annotated[
        bool,
        typer.Option("--digests", help="Also read all files and compare their digests, not only names and sizes."),
    ] = False,
    *,
    as_json: CheckAsJson = False,
    data_dir: DataDirectory = None,
    config: ConfigFile = None,
) -> None:
    """List what tuned models lack in the data directory: examples, weights, checkpoints; exit code 1 if any do.

    The server may be running. With --digests, a file whose content has changed is found as well.
    """
    settings = settings_of(data_dir=data_dir, config=config)
    from tuningfork.server import backing_up  # noqa: PLC0415

    try:
        found = backing_up.lacking_files(settings, digests=digests)
    except backing_up.DataError as error:
        refuse(str(error))
    if as_json:
        output.result_json({"lacking": [_line_as_json(each.line) for each in found]})
    else:
        for each in found:
            output.result(f"{_MODELS}{each.line}")
    if found:
        raise typer.Exit(1)
    output.say("No model lacks anything.")


def set_aside(*, as_json: SetAsideAsJson = False, data_dir: DataDirectory = None, config: ConfigFile = None) -> None:
    """Move files that the database does not know to a folder in the data directory, and begin anew beside them.

    For a server that does not start because its database does not account for files in the data directory. The server
    must not be running. Nothing is deleted; moving the folder's content back undoes it.
    """
    settings = settings_of(data_dir=data_dir, config=config)
    from tuningfork.server.belonging import begin_anew  # noqa: PLC0415
    from tuningfork.server.data_directory import StartError  # noqa: PLC0415

    try:
        jobs, folder = begin_anew(settings)
    except StartError as error:
        refuse(str(error))
    if as_json:
        output.result_json({"jobs": jobs, "folder": folder})
    if folder is None:
        output.say("The database accounts for all files; nothing was moved.")
    else:
        output.say(f"The files of {jobs} jobs are in {folder} now.")
        if not as_json:
            output.result(str(folder))


def _beside_others(work: "Callable[[], Backup]") -> "Backup":
    """Do the work on a thread of low priority, so that a server beside it goes on answering.

    On Linux a niceness belongs to a thread: the rest of this process keeps its own.
    """
    with ThreadPoolExecutor(max_workers=1, initializer=os.nice, initargs=(_NICENESS,)) as thread:
        return thread.submit(work).result()


def _summary(found: "Backup") -> str:
    objects = f" and {found.objects} objects of buckets" if found.objects else ""
    return f"{found.models} models{objects} in {len(found.files)} files of {found.size / 2**20:,.1f} MiB"


def _as_json(found: "Backup", path: Path) -> dict[str, object]:
    return {
        "path": path,
        "version": found.version,
        "createTime": found.create_time,
        "models": found.models,
        "objects": found.objects,
        "files": len(found.files),
        "bytes": found.size,
        "elsewhere": found.elsewhere,
        "lacking": [_line_as_json(line) for line in found.lacking],
    }


def _line_as_json(line: str) -> dict[str, str]:
    """What a model lacks, from a line such as `ID<tab>weights: missing`."""
    model_id, _, lack = line.partition("\t")
    need, _, fault = lack.rpartition(": ")
    return {"model": f"{_MODELS}{model_id}", "need": need, "fault": fault}


def _say_elsewhere(found: "Backup") -> None:
    if found.elsewhere:
        output.say(
            f"Not in the backup are the files of {found.elsewhere} jobs, which never leave the directories of their "
            "locations (TUNINGFORK_REGIONS): keep copies of these where they are."
        )


def _say_lacking(found: "Backup") -> None:
    if found.lacking:
        output.say("The data directory lacked, or had damaged, when the backup was made:")
        for line in found.lacking:
            output.say(f"  {_MODELS}{line}")
