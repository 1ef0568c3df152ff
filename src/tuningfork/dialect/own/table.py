"""All methods of the server's own API in one table."""

from concurrent.futures import Executor
from dataclasses import dataclass

from tuningfork.dialect.call import Binding
from tuningfork.dialect.form import Dialect, Form
from tuningfork.dialect.own.access_tokens import AccessTokenMethods
from tuningfork.dialect.own.adapters import AdapterMethods
from tuningfork.dialect.own.base_limits import BaseLimitMethods
from tuningfork.dialect.own.checkpoint_answers import CheckpointAnswers
from tuningfork.dialect.own.creations import CreationMethods
from tuningfork.dialect.own.dataset_trials import TrialMethods
from tuningfork.dialect.own.datasets import DatasetMethods, RowMethods
from tuningfork.dialect.own.description import describe
from tuningfork.dialect.own.diagnoses import DiagnosisMethods
from tuningfork.dialect.own.engines import EngineMethods
from tuningfork.dialect.own.evaluations import EvaluationMethods
from tuningfork.dialect.own.imports import ImportMethods
from tuningfork.dialect.own.jobs import JobMethods
from tuningfork.dialect.own.keys import KeyMethods
from tuningfork.dialect.own.library import LibraryMethods
from tuningfork.dialect.own.previews import PreviewMethods
from tuningfork.dialect.own.probes import ProbeMethods
from tuningfork.dialect.own.queue import QueueMethods
from tuningfork.dialect.own.refresh_tokens import RefreshTokenMethods
from tuningfork.dialect.own.results import ResultMethods
from tuningfork.dialect.own.service_accounts import ServiceAccountMethods
from tuningfork.dialect.own.sessions import SessionMethods
from tuningfork.dialect.own.stages import StageMethods
from tuningfork.service.answering.engines import Engines
from tuningfork.service.answering.generation import Generation
from tuningfork.service.answering.residency import Residency
from tuningfork.service.datasets.datasets import Datasets
from tuningfork.service.datasets.turns import Turns
from tuningfork.service.evaluating.evaluations import Evaluations
from tuningfork.service.identity.refresh_tokens import RefreshTokens
from tuningfork.service.identity.service_accounts import ServiceAccounts
from tuningfork.service.identity.sessions import Sessions
from tuningfork.service.identity.tokens import AccessTokens
from tuningfork.service.operating.credentials import Keys
from tuningfork.service.operating.unfinished import Unfinished
from tuningfork.service.tuning.detailing import Detailing
from tuningfork.service.tuning.diagnosing import Diagnosing
from tuningfork.service.tuning.exporting import Exporting
from tuningfork.service.tuning.importing import Importing
from tuningfork.service.tuning.library import Library
from tuningfork.service.tuning.previewing import Previewing
from tuningfork.service.tuning.probing import Probing
from tuningfork.service.tuning.results import Results
from tuningfork.service.tuning.staging import Staging
from tuningfork.wire.google.proto_json.encode import Typed

PREFIX = "/tuningfork/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnUseCases:
    """The use cases that the methods call. Imports work in `import_threads`, uploads in `upload_threads`."""

    exporting: Exporting
    importing: Importing
    import_threads: Executor
    previewing: Previewing
    datasets: Datasets
    upload_threads: Executor
    evaluations: Evaluations
    residency: Residency
    generation: Generation
    diagnosing: Diagnosing
    staging: Staging
    results: Results
    detailing: Detailing
    probing: Probing
    library: Library
    engines: Engines
    unfinished: Unfinished
    keys: Keys
    tokens: AccessTokens
    refresh_tokens: RefreshTokens
    sessions: Sessions
    service_accounts: ServiceAccounts


def bindings(use_cases: OwnUseCases) -> tuple[Binding[Typed], ...]:
    """Every method, bound to its verb and path."""
    return (
        *CreationMethods(use_cases.datasets.creating).bindings(),
        *PreviewMethods(use_cases.previewing, use_cases.datasets.creating).bindings(),
        *DatasetMethods(use_cases.datasets, use_cases.upload_threads, Turns(use_cases.upload_threads)).bindings(),
        *RowMethods(use_cases.datasets).bindings(),
        *TrialMethods(use_cases.datasets).bindings(),
        *EvaluationMethods(use_cases.evaluations).bindings(),
        *AccessTokenMethods(use_cases.tokens).bindings(),
        *RefreshTokenMethods(use_cases.refresh_tokens).bindings(),
        *SessionMethods(use_cases.sessions).bindings(),
        *ServiceAccountMethods(use_cases.service_accounts).bindings(),
        *AdapterMethods(use_cases.exporting, use_cases.residency).bindings(),
        *ImportMethods(use_cases.importing, use_cases.import_threads).bindings(),
        *DiagnosisMethods(use_cases.diagnosing).bindings(),
        *StageMethods(use_cases.staging).bindings(),
        *ResultMethods(use_cases.results).bindings(),
        *BaseLimitMethods(use_cases.generation).bindings(),
        *CheckpointAnswers(use_cases.generation).bindings(),
        *JobMethods(use_cases.detailing).bindings(),
        *ProbeMethods(use_cases.probing).bindings(),
        *LibraryMethods(use_cases.library).bindings(),
        *EngineMethods(use_cases.engines).bindings(),
        *QueueMethods(use_cases.unfinished).bindings(),
        *KeyMethods(use_cases.keys).bindings(),
    )


def own(use_cases: OwnUseCases, form: Form[Typed]) -> Dialect[Typed]:
    """The server's own API as a dialect, in Google's form, since its messages are like Google's."""
    # A preview's errors name the API version under which create requests are usually sent.
    return Dialect(prefixes={PREFIX: "v1beta"}, bindings=bindings(use_cases), form=form, describe=describe)
