"""Refresh tokens for those who hold an API key: made, listed, revoked. `POST /token` exchanges them."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.domain.refresh_token import RefreshTokenId
from tuningfork.service.identity.refresh_tokens import CLIENT_ID, RefreshTokens
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own import refresh_tokens as wire


@dataclass(frozen=True, slots=True)
class RefreshTokenMethods:
    """Methods about the refresh tokens of the caller."""

    refresh_tokens: RefreshTokens

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """All three."""
        path, revoke = "/refreshTokens", "/refreshTokens/{refresh_token:id}:revoke"
        return (
            Binding("POST", path, OwnMethod.CREATE_REFRESH_TOKEN, Direct(self.create), secret=True),
            Binding("GET", path, OwnMethod.LIST_REFRESH_TOKENS, Direct(self.list)),
            Binding("POST", revoke, OwnMethod.REVOKE_REFRESH_TOKEN, Direct(self.revoke)),
        )

    def create(self, call: MethodCall) -> Typed:
        """refreshTokens.create: a refresh token for the API key of the call."""
        refuse_query(call.query)
        name = wire.parse_name(call.body)
        with translated_errors(wire.CREATE):
            made = self.refresh_tokens.create(call.principal, name)
        return wire.render_new(
            made.token,
            client_id=CLIENT_ID,
            client_secret=made.client_secret,
            refresh_token=made.value,
            project=call.principal.project,
        )

    def list(self, call: MethodCall) -> Typed:
        """refreshTokens.list: the refresh tokens of all keys of the caller, revoked ones too, without their secrets."""
        refuse_query(call.query)
        return wire.render_refresh_tokens(self.refresh_tokens.list(call.principal))

    def revoke(self, call: MethodCall) -> Typed:
        """refreshTokens.revoke: the refresh token is no longer exchanged. Its last access token expires by itself."""
        refuse_query(call.query)
        token_id = RefreshTokenId(call.path["refresh_token"])
        return wire.render_refresh_token(self.refresh_tokens.revoke(call.principal, token_id))
