"""Google's host names, which lead to a server of ours: a hosts file of its own for a program, and TLS on port 443.

Only programs that are started with `command` see the hosts file, in a mount namespace; the machine's own stays as it
is. TLS ends in a thread of this process, with a certificate of a CA that is made for it.
"""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuningfork.grpc_server.certificates import own_certificate

NAMES = ("us-central1-aiplatform.googleapis.com", "aiplatform.googleapis.com")
ADDRESS = "127.83.71.9"
"""An address of the loopback interface whose port 443 nobody else uses."""


@dataclass(frozen=True)
class GoogleNames:
    """Where the names lead, and the CA that vouches for them."""

    hosts: Path
    ca: Path

    def command(self, command: Sequence[str | Path]) -> list[str]:
        """The command, which sees the hosts file."""
        bind = f'mount --bind "{self.hosts}" /etc/hosts && exec "$0" "$@"'
        return ["unshare", "--mount", "sh", "-c", bind, *map(str, command)]


def refusal() -> str | None:
    """Why programs cannot be given a hosts file of their own here; None: they can."""
    tried = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount --bind /etc/hosts /etc/hosts"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"no mount namespace: {tried.stderr.strip()}"


@contextmanager
def leading_to(port: int, directory: Path) -> Iterator[GoogleNames]:
    """The names, leading to this port of the loopback interface, as long as the context lasts."""
    hosts = directory / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{ADDRESS} {name}\n" for name in NAMES))
    made = own_certificate(directory / "tls", NAMES, datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "tls" / "server.pem", directory / "tls" / "server-key.pem")
    with socket.create_server((ADDRESS, 443)) as listener:
        threading.Thread(target=_accept, args=(listener, context, port), daemon=True).start()
        yield GoogleNames(hosts=hosts, ca=made.root_file)


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_carry, args=(connection, context, port), daemon=True).start()


def _carry(connection: socket.socket, context: ssl.SSLContext, port: int) -> None:
    """Pass bytes on both ways until either side closes."""
    try:
        with (
            context.wrap_socket(connection, server_side=True) as caller,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            back = threading.Thread(target=_copy, args=(server, caller), daemon=True)
            back.start()
            _copy(caller, server)
            back.join()
    except OSError:
        # A client that is done closes without saying so.
        return


def _copy(origin: socket.socket, target: socket.socket) -> None:
    try:
        while piece := origin.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
