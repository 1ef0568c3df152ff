"""The settings of a server, given by options, `TUNINGFORK_*` variables or a file, with defaults and units."""

import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from tuningfork.buckets.configuration import (
    BucketSettings,
    check_file_roots,
    check_mapped,
    check_stores,
    check_web_roots,
    parse_file_root,
    parse_mapped,
    parse_store,
    parse_web_root,
)
from tuningfork.dialect.scopes import SCOPES
from tuningfork.domain.base_model import WeightType
from tuningfork.domain.loopback import is_loopback
from tuningfork.domain.operators import check_addresses
from tuningfork.domain.origin import parse_origin
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.user_directories import default_data_directory
from tuningfork.execution.base import AdapterLimits
from tuningfork.logs.formats import LogFormat
from tuningfork.service.identity.openid import TrustedIssuer
from tuningfork.settings_file import SettingsFile
from tuningfork.store.regions import check_regions
from tuningfork.wire.gemini.names import tuned_id


def usable_cores() -> int:
    """The number of cores that this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """The server's settings.

    An option on the command line overrides a variable, a variable overrides the file, and the file the default.

    Raises:
        ValidationError: a value is wrong.
        SettingsFileError: the file of settings cannot be used.

    """

    model_config = SettingsConfigDict(
        env_prefix="TUNINGFORK_", env_ignore_empty=True, extra="ignore", validate_default=True, populate_by_name=True
    )

    config: Path | None = Field(
        default=None, description="TOML file with settings; options and variables override what it says."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_connections: int = Field(
        default=10_000,
        ge=1,
        description="Connections at a time, a quarter of them over gRPC if it is served; fewer if the process may open "
        "too few files.",
    )
    request_head_seconds: float = Field(
        default=10, gt=0, description="Seconds in which a client must send the line and the headers of a request."
    )
    request_body_seconds: float = Field(
        default=30,
        gt=0,
        description="Seconds that the server waits for a body, and one more for each 1,000 bytes of it.",
    )
    answer_seconds: float = Field(
        default=30,
        gt=0,
        description="Seconds that a client may leave an answer unread, or take less than 1,000 bytes a second.",
    )
    keep_alive_seconds: float = Field(
        default=60, gt=0, description="Seconds after which a connection without a request is closed."
    )
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
        default_factory=list,
        description="Further base models, each NAME=LOCATION (Hub id, directory or GGUF file), separated by blanks.",
    )
    safety: str = Field(
        default="off", description="Who rates texts for harm: off, lexical, or a TOML file that describes a rater."
    )
    log_level: str = Field(default="info", pattern="(?i)^(debug|info|warning|error)$", description="Least log level.")
    log_format: LogFormat = Field(
        default=LogFormat.TEXT, description="text: log lines for people; json: a JSON object on each line."
    )
    access_log: bool = Field(default=True, description="Log each request: path, status, time, bytes, id of the key.")
    trainer_threads: int = Field(
        default_factory=usable_cores, ge=1, description="Threads that the trainer computes with."
    )
    generator_threads: int = Field(
        default_factory=usable_cores, ge=1, description="Threads that the generator computes with."
    )
    weights: WeightType = Field(
        default=WeightType.STORED,
        description="What base models' weights are kept in: stored, or on a CPU int8, which rounds them and takes half "
        "the memory of two-byte weights.",
    )
    gpu_shortcuts: bool = Field(
        default=True,
        description="On a GPU: CUDA graphs and kernels that are faster than plain operations; false does without them.",
    )
    worker_silence_seconds: float = Field(
        default=30.0,
        ge=1,
        description="Seconds that a trainer, generator or rater may give no sign of life before it is replaced.",
    )
    rendering_seconds: int = Field(
        default=10,
        ge=1,
        description="Seconds of computing that a base model's chat template and tokenizer may take for a text, besides "
        "a second for every 20,000 characters. Reading the model's files may take three times as long.",
    )
    concurrent_jobs: int = Field(default=8, ge=1, description="Tuning jobs that share the trainer at a time.")
    training_price: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="What a million trained tokens cost, in a currency of yours, for estimates in previews and stages; "
        "left out, there are none. Nobody is billed.",
    )
    savepoint_every: int = Field(
        default=10,
        ge=1,
        # The second name is the former one, which operators may still use.
        validation_alias=AliasChoices("TUNINGFORK_SAVEPOINT_EVERY", "TUNINGFORK_CHECKPOINT_EVERY"),
        description="Steps between two savepoints of a job. `TUNINGFORK_CHECKPOINT_EVERY`, the former name, works too.",
    )
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
    disk_reserve_mebibytes: int = Field(
        default=32,
        ge=0,
        description="Disk space that is kept so that models can be deleted when the disk is full; 0 keeps none.",
    )
    pinned_models: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Tuned models that stay in memory once they are ACTIVE, each tunedModels/ID, separated by blanks.",
    )

    buckets: Annotated[list[str], NoDecode, AfterValidator(check_mapped)] = Field(
        default_factory=list,
        description="Directories that all callers may read as buckets (gs://BUCKET/...), each BUCKET=DIRECTORY, with "
        ":rw behind it to let them write, separated by blanks.",
    )
    file_roots: Annotated[list[str], NoDecode, AfterValidator(check_file_roots)] = Field(
        default_factory=list,
        description="Directories below which file:// addresses are read, separated by blanks; left out, none is.",
    )
    web_roots: Annotated[list[str], NoDecode, AfterValidator(check_web_roots)] = Field(
        default_factory=list,
        description="Addresses below which all callers may read training files over http:// and https://, such as "
        "https://data.example.com/sets, separated by blanks; left out, none is read.",
    )
    object_stores: Annotated[list[str], NoDecode, AfterValidator(check_stores)] = Field(
        default_factory=list,
        description="Buckets of object stores that all callers may read, each s3://BUCKET or gs://BUCKET, with =URL "
        "behind it for a store elsewhere, or with another bucket that holds the objects, as gs://BUCKET=s3://BUCKET, "
        "separated by blanks.",
    )
    regions: Annotated[list[str], NoDecode, AfterValidator(check_regions)] = Field(
        default_factory=list,
        description="Directories that data and adapters of a location's jobs never leave, each LOCATION=DIRECTORY, "
        "separated by blanks.",
    )
    share_prefixes: bool = Field(
        default=False,
        description="Compute what prompts begin with once for all owners, not for each; then an owner can tell from "
        "the time to a first token what others have asked.",
    )

    operators: Annotated[list[str], NoDecode, AfterValidator(check_addresses)] = Field(
        default_factory=list,
        description="E-mail addresses of people who run the server beside the machine's owner, separated by blanks.",
    )
    no_auth: bool = Field(
        default=False, description="Ask nobody for a key; only together with a loopback address to listen on."
    )
    storage_without_credentials: bool = Field(
        default=False,
        description="Let in who sends no credential to the API of buckets, as the machine's owner: everybody who can "
        "run programs on this machine; only together with a loopback address to listen on.",
    )
    open_metrics: bool = Field(
        default=False, description="Answer `/metrics` without an API key; where only monitoring reaches the server."
    )
    metrics_token: str | None = Field(
        default=None,
        min_length=16,
        pattern=r"^[\x21-\x7e]+$",
        description="A secret of at least 16 characters that opens `/metrics` and nothing else, beside API keys.",
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
    oidc_client_id: str | None = Field(
        default=None, description="What the Studio is called at this issuer; with it, people can sign in there."
    )
    oidc_client_secret: str = Field(default="", description="The Studio's secret at this issuer, if it has one.")
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
    concurrent_tuning_jobs_per_project: int | None = Field(
        default=None, ge=1, description="Tuning jobs of a project that are trained at a time, in all its locations."
    )
    over_project_quota: Literal["queue", "reject"] = Field(
        default="queue",
        description="What happens to further jobs of such a project: queue lets them wait; reject answers 429 to "
        "requests of Vertex AI's API while the project has so many that have not ended.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - not read
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values are from, the strongest first."""
        return init_settings, env_settings, SettingsFile(settings_cls)

    @field_validator(
        *("base_model", "buckets", "cors_origins", "file_roots", "object_stores", "oidc_default_scopes"),
        *("pinned_models", "operators", "regions", "web_roots"),
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @field_validator("pinned_models")
    @classmethod
    def _pinned(cls, names: list[str]) -> list[str]:
        for name in names:
            if tuned_id(name) is None:
                raise ValueError(f"a tuned model is named tunedModels/ID; {name!r} was given")
        return names

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        return [parse_origin(origin) for origin in origins]

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

    @field_validator("oidc_client_id")
    @classmethod
    def _client(cls, client_id: str | None, others: ValidationInfo) -> str | None:
        if client_id and not others.data.get("oidc_issuer") and "oidc_issuer" in others.data:
            raise ValueError("must be given together with oidc_issuer, at which it is registered")
        return client_id or None

    @field_validator("oidc_default_scopes")
    @classmethod
    def _scopes(cls, scopes: list[str]) -> list[str]:
        return [SCOPES.named(scope) for scope in scopes]

    @property
    def trusted_issuer(self) -> TrustedIssuer | None:
        """The external OpenID Connect issuer whose tokens are accepted; None if there is none."""
        if self.oidc_issuer is None or self.oidc_audience is None:
            return None
        return TrustedIssuer(
            url=self.oidc_issuer,
            audience=self.oidc_audience,
            client_id=self.oidc_client_id,
            scopes=frozenset(SCOPES.names),
            email_claim=self.oidc_email_claim,
            scope_claim=self.oidc_scope_claim,
            default_scopes=frozenset(self.oidc_default_scopes),
        )

    @property
    def bucket_settings(self) -> BucketSettings:
        """Where objects at gs://, s3:// and file:// addresses are."""
        return BucketSettings(
            root=self.data_dir / "buckets",
            mapped=tuple(map(parse_mapped, self.buckets)),
            file_roots=tuple(map(parse_file_root, self.file_roots)),
            web_roots=tuple(map(parse_web_root, self.web_roots)),
            stores=tuple(map(parse_store, self.object_stores)),
        )

    @property
    def adapter_limits(self) -> AdapterLimits:
        """How many adapters, and how many bytes of them, are kept in memory."""
        mebibytes = self.resident_adapter_mebibytes
        return AdapterLimits(adapters=self.resident_adapters, bytes=None if mebibytes is None else mebibytes * 2**20)

    @property
    def pinned_ids(self) -> frozenset[TunedModelId]:
        """The ids of the models whose adapters stay in memory."""
        return frozenset(found for name in self.pinned_models if (found := tuned_id(name)) is not None)

    @property
    def resolved_database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'tuningfork.db'}"

    @property
    def key_file(self) -> Path:
        """The file in which the first start stores the first API key, readable by its user only."""
        return self.data_dir / "api-key"


def variables() -> tuple[str, ...]:
    """The environment variables that set a setting, former names too."""
    names: list[str] = []
    for name, field in Settings.model_fields.items():
        match field.validation_alias:
            case AliasChoices(choices=choices):
                names += map(str, choices)
            case _:
                names.append(f"TUNINGFORK_{name.upper()}")
    return tuple(names)
