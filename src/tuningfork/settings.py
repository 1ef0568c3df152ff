"""What an operator can set, by option or by a `TUNINGFORK_*` variable, with its default and its unit."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def default_data_directory() -> Path:
    """`$XDG_DATA_HOME/tuningfork`, which is `~/.local/share/tuningfork` where that is not set."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "tuningfork"


def usable_cores() -> int:
    """Cores that this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """The server's settings. An option on the command line wins over a variable, a variable over the default."""

    model_config = SettingsConfigDict(env_prefix="TUNINGFORK_", extra="ignore", validate_default=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Path = Field(
        default_factory=default_data_directory, description="Where the database, datasets and adapters are kept."
    )
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL of the database; left out, a SQLite file in the data directory."
    )
    catalog: Path | None = Field(default=None, description="TOML file that names further base models.")
    base_model: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="Further base models, each NAME=HUB_ID_OR_DIRECTORY, separated by blanks."
    )
    log_level: str = Field(default="info", pattern="(?i)^(debug|info|warning|error)$", description="Least log level.")
    trainer_threads: int = Field(
        default_factory=usable_cores, ge=1, description="Threads that the trainer computes with."
    )
    generator_threads: int = Field(
        default_factory=usable_cores, ge=1, description="Threads that the generator computes with."
    )
    concurrent_jobs: int = Field(default=8, ge=1, description="Tuning jobs that share the trainer at a time.")
    checkpoint_every: int = Field(default=10, ge=1, description="Steps between two checkpoints of a job.")

    @field_validator("base_model", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @property
    def resolved_database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'tuningfork.db'}"

    @property
    def key_file(self) -> Path:
        """Where the first start leaves the first API key, readable by its user only."""
        return self.data_dir / "api-key"
