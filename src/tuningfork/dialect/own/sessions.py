"""Sessions, which browsers keep instead of an API key: begun, listed, ended; and who the caller is."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.domain.session import SessionId
from tuningfork.service.identity.sessions import Sessions
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query, render_empty
from tuningfork.wire.own import sessions as wire


@dataclass(frozen=True, slots=True)
class SessionMethods:
    """Methods about the caller and their sessions."""

    sessions: Sessions

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """All five. Caches must not store the credential that the first answers with."""
        path, current, one = "/sessions", "/sessions/current", "/sessions/{session:id}"
        return (
            Binding("POST", path, OwnMethod.CREATE_SESSION, Direct(self.create), secret=True),
            Binding("GET", path, OwnMethod.LIST_SESSIONS, Direct(self.list)),
            Binding("DELETE", current, OwnMethod.END_CURRENT_SESSION, Direct(self.end_current)),
            Binding("DELETE", one, OwnMethod.END_SESSION, Direct(self.end)),
            Binding("GET", "/caller", OwnMethod.GET_CALLER, Direct(self.caller)),
        )

    def create(self, call: MethodCall) -> Typed:
        """sessions.create: a session for the credential of the call, with that credential's rights."""
        refuse_query(call.query)
        name = wire.parse_name(call.body)
        with translated_errors(wire.CREATE):
            made = self.sessions.begin(call.principal, name)
        return wire.render_new(made.session, made.credential)

    def list(self, call: MethodCall) -> Typed:
        """sessions.list: the caller's sessions that have not ended, the newest first, without their credentials.

        With `everybodys=true`, for whoever runs the server, those of all people.
        """
        everybodys = wire.parse_everybodys(call.query)
        find = self.sessions.list_everybodys if everybodys else self.sessions.list
        return wire.render_sessions(find(call.principal), self.sessions.current(call.principal))

    def end(self, call: MethodCall) -> Typed:
        """sessions.delete: the session's credential is refused from now on."""
        refuse_query(call.query)
        self.sessions.end(call.principal, SessionId(call.path["session"]))
        return render_empty()

    def end_current(self, call: MethodCall) -> Typed:
        """sessions.delete of `current`: the same for the session whose credential is sent; nothing if it is none."""
        refuse_query(call.query)
        self.sessions.end_current(call.principal)
        return render_empty()

    def caller(self, call: MethodCall) -> Typed:
        """caller.get: who calls, by which kind of credential, and whether they run the server."""
        refuse_query(call.query)
        operator = self.sessions.operators.includes(call.principal)
        return wire.render_caller(call.principal, self.sessions.current(call.principal), operator=operator)
