"""API keys over the network: made, listed, revoked; one's own, and for whoever runs the server those of all."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.domain.api_key import ApiKeyId
from tuningfork.service.operating.credentials import Keys
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own import keys as wire


@dataclass(frozen=True, slots=True)
class KeyMethods:
    """Methods about API keys."""

    keys: Keys

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """All three. Caches must not store the key that the first answers with."""
        return (
            Binding("POST", "/keys", OwnMethod.CREATE_KEY, Direct(self.create), secret=True),
            Binding("GET", "/keys", OwnMethod.LIST_KEYS, Direct(self.list)),
            Binding("POST", "/keys/{key:id}:revoke", OwnMethod.REVOKE_KEY, Direct(self.revoke)),
        )

    def create(self, call: MethodCall) -> Typed:
        """keys.create: a key for the caller, or for whoever runs the server for anybody."""
        refuse_query(call.query)
        wanted = wire.parse_wanted_key(call.body)
        with translated_errors(wire.CREATE):
            made = self.keys.create(call.principal, wanted.display_name, wanted.email, wanted.project)
        return wire.render_new(made.record, made.key, mine=made.record.principal.email == call.principal.email)

    def list(self, call: MethodCall) -> Typed:
        """keys.list: the caller's keys, or for whoever runs the server all keys; revoked ones too."""
        refuse_query(call.query)
        return wire.render_keys(self.keys.list(call.principal))

    def revoke(self, call: MethodCall) -> Typed:
        """keys.revoke: the key, its sessions and its tokens are refused from now on."""
        refuse_query(call.query)
        return wire.render_key(self.keys.revoke(call.principal, ApiKeyId(call.path["key"])))
