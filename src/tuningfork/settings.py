"""What an operator can set, by option or by a `TUNINGFORK_*` variable, with its default and its unit."""

import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tuningfork.domain.authorization import Scope
from tuningfork.domain.loopback import is_loopback
from tuningfork.domain.tuned_model import TunedModelId, id_in_name
from tuningfork.execution.base import AdapterRoom

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?"
)
_USUAL_PORTS = {"http": "80", "https": "443"}


def default_data_directory() -> Path:
    """`$XDG_DATA_HOME/tuningfork`, which is `~/.local/share/tuningfork` where that is not set."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "tuningfork"


def usable_cores() -> int:
    """Cores that this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """The server's settings. An option on the command line wins over a variable, a variable over the default."""

    model_config = SettingsConfigDict(
        env_prefix="TUNINGFORK_", env_ignore_empty=True, extra="ignore", validate_default=True
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    grpc_port: int | None = Field(
        default=None, ge=0, le=65535, description="Port for gRPC over TLS; 0 takes a free one; left out, there is none."
    )
    grpc_certificate: Path | None = Field(
        default=None,
        description="PEM file of the certificate that gRPC shows, and of those that signed it; left out, one is made.",
    )
    grpc_private_key: Path | None = Field(default=None, description="PEM file of the private key of this certificate.")
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
    safety: str = Field(
        default="off", description="Who rates texts for harm: off, lexical, or a TOML file that describes a rater."
    )
    log_level: str = Field(default="info", pattern="(?i)^(debug|info|warning|error)$", description="Least log level.")
    trainer_threads: int = Field(
        default_factory=usable_cores, ge=1, description="Threads that the trainer computes with."
    )
    generator_threads: int = Field(
        default_factory=usable_cores, ge=1, description="Threads that the generator computes with."
    )
    gpu_shortcuts: bool = Field(
        default=True,
        description="On a GPU: CUDA graphs and kernels that are faster than plain operations; false does without them.",
    )
    concurrent_jobs: int = Field(default=8, ge=1, description="Tuning jobs that share the trainer at a time.")
    checkpoint_every: int = Field(default=10, ge=1, description="Steps between two checkpoints of a job.")
    resident_adapters: int = Field(
        default=1_000,
        ge=1,
        description="Tuned models kept in memory over each base; the least recently used one leaves first.",
    )
    resident_adapter_mebibytes: int | None = Field(
        default=None,
        ge=1,
        description="What these may take together; left out, an eighth of the machine's memory, or of the GPU's.",
    )
    pinned_models: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Tuned models that stay in memory once they are ACTIVE, each tunedModels/ID, separated by blanks.",
    )

    no_auth: bool = Field(
        default=False, description="Ask nobody for a key; only together with a loopback address to listen on."
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Origins whose web pages may call, such as https://example.com, separated by blanks; * for all.",
    )
    oidc_issuer: str | None = Field(
        default=None, description="URL of an OpenID Connect issuer whose tokens are taken as access tokens."
    )
    oidc_audience: str | None = Field(
        default=None, description="What the tokens of this issuer must be for; needed with an issuer."
    )
    oidc_email_claim: str = Field(default="email", description="Where these tokens hold the e-mail address.")
    oidc_scope_claim: str = Field(
        default="scope", description="Where these tokens hold their scopes, as text or as a list."
    )
    oidc_default_scopes: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Scopes of those of these tokens that name none of this API's, separated by blanks.",
    )
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Requests that a key may send in any minute; waiting for jobs is free."
    )
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Tokens of prompts and answers that a key may use in any minute."
    )
    concurrent_tuning_jobs_per_key: int | None = Field(
        default=None, ge=1, description="Tuning jobs of a key that may wait and run at a time."
    )

    @field_validator("base_model", "cors_origins", "oidc_default_scopes", "pinned_models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @field_validator("pinned_models")
    @classmethod
    def _pinned(cls, names: list[str]) -> list[str]:
        for name in names:
            if id_in_name(name) is None:
                raise ValueError(f"a tuned model is named tunedModels/ID; {name!r} was given")
        return names

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        return [_origin(origin) for origin in origins]

    @field_validator("grpc_private_key")
    @classmethod
    def _key_and_certificate(cls, private_key: Path | None, others: ValidationInfo) -> Path | None:
        if (private_key is None) != (others.data.get("grpc_certificate") is None):
            raise ValueError("must be given together with grpc_certificate")
        return private_key

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, issuer: str | None) -> str | None:
        parts = urlsplit(issuer or "https://any")
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not is_safe or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"must be an https URL (http on this machine only); {issuer!r} was given")
        return issuer

    @field_validator("oidc_audience")
    @classmethod
    def _audience(cls, audience: str | None, others: ValidationInfo) -> str | None:
        issuer = others.data.get("oidc_issuer")
        if issuer and not audience:
            raise ValueError("must be given with oidc_issuer, so that tokens made for other services are refused")
        if audience and not issuer and "oidc_issuer" in others.data:
            raise ValueError("must be given together with oidc_issuer, whose tokens it is for")
        return audience

    @field_validator("oidc_default_scopes")
    @classmethod
    def _scopes(cls, scopes: list[str]) -> list[str]:
        return [Scope.named(scope).value for scope in scopes]

    @property
    def adapter_room(self) -> AdapterRoom:
        """How much of adapters is kept in memory."""
        mebibytes = self.resident_adapter_mebibytes
        return AdapterRoom(adapters=self.resident_adapters, bytes=None if mebibytes is None else mebibytes * 2**20)

    @property
    def pinned_ids(self) -> frozenset[TunedModelId]:
        """The ids of the models that are to stay in memory."""
        return frozenset(found for name in self.pinned_models if (found := id_in_name(name)) is not None)

    @property
    def resolved_database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'tuningfork.db'}"

    @property
    def key_file(self) -> Path:
        """Where the first start leaves the first API key, readable by its user only."""
        return self.data_dir / "api-key"


def _origin(given: str) -> str:
    """An origin as browsers write it: lower case, without a path or the port that goes without saying."""
    if given == "*":
        return given
    found = _ORIGIN.fullmatch(given.lower())
    if found is None:
        raise ValueError(
            f"an origin is scheme://host or scheme://host:port as browsers write it, or * for all; {given!r} is none"
        )
    is_usual = found["port"] == _USUAL_PORTS.get(found["scheme"])
    return f"{found['scheme']}://{found['host']}{'' if is_usual or found['port'] is None else ':' + found['port']}"
