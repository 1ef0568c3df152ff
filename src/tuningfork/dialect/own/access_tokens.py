"""Access tokens for those who hold an API key."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.service.identity.tokens import AccessTokens
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own import access_tokens as wire


@dataclass(frozen=True, slots=True)
class AccessTokenMethods:
    """Making access tokens."""

    tokens: AccessTokens

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """The one method. Caches must not store the token (RFC 6749 section 5.1)."""
        return (Binding("POST", "/accessTokens", OwnMethod.CREATE_ACCESS_TOKEN, Direct(self.create), secret=True),)

    def create(self, call: MethodCall) -> Typed:
        """accessTokens.create: a token for the holder of the API key."""
        refuse_query(call.query)
        wanted = wire.parse_wanted_token(call.body)
        with translated_errors(wire.CREATE):
            made = self.tokens.create(call.principal, wanted.scopes, wanted.lifetime)
        return wire.render_access_token(made.value, made.expire_time, made.scopes)
