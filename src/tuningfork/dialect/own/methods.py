"""The methods of the server's own API, `tuningfork.v1`: names, scopes and budgets. The scopes are the Gemini API's."""

from tuningfork.dialect.gemini.methods import CHANGES_TUNING, READS_TUNING
from tuningfork.dialect.method import Asks, Method
from tuningfork.dialect.scopes import SCOPES, Scope
from tuningfork.domain.permission import Action
from tuningfork.service.quotas import Cost

_PACKAGE = "tuningfork.v1"


class OwnMethod(Method):
    """A method of the server's own API."""

    PREVIEW_TUNED_MODEL = Asks(full_name=f"{_PACKAGE}.PreviewTunedModel", scopes=CHANGES_TUNING, action=Action.TUNE_ON)
    EXPORT_ADAPTER = Asks(full_name=f"{_PACKAGE}.ExportAdapter", scopes=READS_TUNING, action=Action.GET)
    # The base is loaded for it, but nothing is generated.
    IMPORT_TUNED_MODEL = Asks(full_name=f"{_PACKAGE}.ImportTunedModel", scopes=CHANGES_TUNING, action=None)
    CREATE_DATASET = Asks(full_name=f"{_PACKAGE}.CreateDataset", scopes=CHANGES_TUNING, action=None)
    READ_DATASETS = Asks(full_name=f"{_PACKAGE}.ReadDatasets", scopes=READS_TUNING, action=None)
    CHANGE_DATASETS = Asks(full_name=f"{_PACKAGE}.ChangeDatasets", scopes=CHANGES_TUNING, action=None)
    TRY_DATASETS = Asks(full_name=f"{_PACKAGE}.TryDatasets", scopes=CHANGES_TUNING, action=None)
    # It asks each of its models for text, and each is checked; a base model needs no role.
    CREATE_EVALUATION = Asks(full_name=f"{_PACKAGE}.CreateEvaluation", scopes=CHANGES_TUNING, action=Action.GENERATE)
    READ_EVALUATIONS = Asks(
        full_name=f"{_PACKAGE}.ReadEvaluations", scopes=READS_TUNING, action=None, cost=Cost.NOTHING
    )
    CHANGE_EVALUATIONS = Asks(full_name=f"{_PACKAGE}.ChangeEvaluations", scopes=CHANGES_TUNING, action=None)
    # Access tokens are not accepted: a token that makes new tokens would in effect never expire.
    CREATE_ACCESS_TOKEN = Asks(
        full_name=f"{_PACKAGE}.CreateAccessToken", scopes=(), action=None, makes_credentials=True
    )
    # The same is true of refresh tokens and service accounts.
    CREATE_REFRESH_TOKEN = Asks(
        full_name=f"{_PACKAGE}.CreateRefreshToken", scopes=(), action=None, makes_credentials=True
    )
    LIST_REFRESH_TOKENS = Asks(full_name=f"{_PACKAGE}.ListRefreshTokens", scopes=(), action=None)
    REVOKE_REFRESH_TOKEN = Asks(full_name=f"{_PACKAGE}.RevokeRefreshToken", scopes=(), action=None)
    CREATE_SERVICE_ACCOUNT = Asks(
        full_name=f"{_PACKAGE}.CreateServiceAccount", scopes=(), action=None, makes_credentials=True
    )
    LIST_SERVICE_ACCOUNTS = Asks(full_name=f"{_PACKAGE}.ListServiceAccounts", scopes=(), action=None)
    REVOKE_SERVICE_ACCOUNT = Asks(full_name=f"{_PACKAGE}.RevokeServiceAccount", scopes=(), action=None)
    # A session of an access token has the token's scopes, and ends with it.
    CREATE_SESSION = Asks(
        full_name=f"{_PACKAGE}.CreateSession",
        scopes=SCOPES.names,
        action=None,
        makes_credentials=True,
        is_sign_in=True,
    )
    # A token for a part of what its key may do must not sign its holder out elsewhere.
    LIST_SESSIONS = Asks(full_name=f"{_PACKAGE}.ListSessions", scopes=(Scope.CLOUD_PLATFORM.value,), action=None)
    END_SESSION = Asks(full_name=f"{_PACKAGE}.EndSession", scopes=(Scope.CLOUD_PLATFORM.value,), action=None)
    END_CURRENT_SESSION = Asks(full_name=f"{_PACKAGE}.EndCurrentSession", scopes=SCOPES.names, action=None)
    GET_CALLER = Asks(full_name=f"{_PACKAGE}.GetCaller", scopes=SCOPES.names, action=None, cost=Cost.NOTHING)
    # A key has no scopes, and lasts until it is revoked: neither a token nor a session makes one.
    CREATE_KEY = Asks(full_name=f"{_PACKAGE}.CreateKey", scopes=(), action=None, makes_credentials=True)
    LIST_KEYS = Asks(full_name=f"{_PACKAGE}.ListKeys", scopes=(Scope.CLOUD_PLATFORM.value,), action=None)
    REVOKE_KEY = Asks(full_name=f"{_PACKAGE}.RevokeKey", scopes=(Scope.CLOUD_PLATFORM.value,), action=None)
    # Whoever runs the server sees everybody's jobs, so a token for less than everything is not enough.
    GET_QUEUE = Asks(full_name=f"{_PACKAGE}.GetQueue", scopes=(Scope.CLOUD_PLATFORM.value,), action=None)
    CANCEL_JOB = Asks(full_name=f"{_PACKAGE}.CancelJob", scopes=(Scope.CLOUD_PLATFORM.value,), action=Action.CANCEL)
    # The method itself looks at who calls: only whoever runs the server may see this.
    GET_ENGINES = Asks(full_name=f"{_PACKAGE}.GetEngines", scopes=(Scope.CLOUD_PLATFORM.value,), action=None)
