"""Service accounts for those who hold an API key: made, listed, revoked. `POST /token` exchanges their assertions."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.domain.service_account import ServiceAccountId
from tuningfork.service.identity.service_accounts import ServiceAccounts
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own import service_accounts as wire


@dataclass(frozen=True, slots=True)
class ServiceAccountMethods:
    """Methods about the service accounts of the caller."""

    service_accounts: ServiceAccounts

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """All three."""
        path, revoke = "/serviceAccounts", "/serviceAccounts/{service_account:id}:revoke"
        return (
            Binding("POST", path, OwnMethod.CREATE_SERVICE_ACCOUNT, Direct(self.create), secret=True),
            Binding("GET", path, OwnMethod.LIST_SERVICE_ACCOUNTS, Direct(self.list)),
            Binding("POST", revoke, OwnMethod.REVOKE_SERVICE_ACCOUNT, Direct(self.revoke)),
        )

    def create(self, call: MethodCall) -> Typed:
        """serviceAccounts.create: a service account for the API key of the call."""
        refuse_query(call.query)
        wanted = wire.parse_wanted_account(call.body)
        with translated_errors(wire.CREATE):
            made = self.service_accounts.create(call.principal, wanted.name, wanted.token_uri)
        return wire.render_new(made.account, private_key=made.private_key, project=call.principal.project)

    def list(self, call: MethodCall) -> Typed:
        """serviceAccounts.list: the service accounts of all keys of the caller, revoked ones too."""
        refuse_query(call.query)
        return wire.render_service_accounts(self.service_accounts.list(call.principal))

    def revoke(self, call: MethodCall) -> Typed:
        """serviceAccounts.revoke: assertions are refused from now on. The last access token expires by itself."""
        refuse_query(call.query)
        account_id = ServiceAccountId(call.path["service_account"])
        return wire.render_service_account(self.service_accounts.revoke(call.principal, account_id))
