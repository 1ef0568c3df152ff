"""What `deploy/` describes, as far as it runs without a container engine: the container's start, and nginx in front."""

import datetime as dt
import ipaddress
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from live_server import free_port
from patience import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
HOST = "tuning.example.com"
EVENTS = [b"data: first\n\n", b"data: second\n\n"]


@contextmanager
def ended_at_the_end(*command, **options):
    process = subprocess.Popen([str(word) for word in command], **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def answers(url, **options):
    try:
        return httpx.get(url, timeout=5, **options).is_success
    except httpx.TransportError:
        return False


def test_what_the_container_starts_is_a_healthy_server_that_ends_at_sigterm(tmp_path):
    lines = [line.split(" ", 1) for line in (DEPLOY / "Containerfile").read_text().splitlines() if line[:1].isupper()]
    said = {word: [rest for each, rest in lines if each == word] for word, _ in lines}
    variables = dict(pair.split("=", 1) for rest in said["ENV"] for pair in shlex.split(rest))
    (volume,) = said["VOLUME"]
    port = str(free_port())
    # The paths of the image, below a directory of this machine; another port; this interpreter's programs.
    environment = {name: value.replace(volume, str(tmp_path), 1) for name, value in variables.items()}
    # A proxy of the machine's is not asked.
    environment |= {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    environment |= {"TUNINGFORK_PORT": port, "TUNINGFORK_HOST": "127.0.0.1", "PATH": os.environ["PATH"]}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    start = json.loads(said["ENTRYPOINT"][0]) + json.loads(said["CMD"][0])
    check = json.loads(said["HEALTHCHECK"][0].partition("CMD ")[2])
    assert start[0] == "tuningfork"

    with (
        (tmp_path / "log").open("wb") as log,
        ended_at_the_end(
            sys.executable, "-m", *start, env=environment, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT
        ) as server,
    ):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), what="the server is healthy")
        checked = subprocess.run([sys.executable, *check[1:]], env=environment, check=False, timeout=PATIENCE_SECONDS)
        server.terminate()
        code = server.wait(PATIENCE_SECONDS)

    assert checked.returncode == 0
    assert code == 0
    assert (tmp_path / "tuningfork" / "api-key").exists()
    # Nobody answers any more, and the check says so.
    assert subprocess.run(
        [sys.executable, *check[1:]], env=environment, check=False, timeout=PATIENCE_SECONDS, capture_output=True
    ).returncode


@contextmanager
def nginx_before(upstream_port, directory):
    """nginx as `deploy/nginx.conf` has it, with ports of its own and a certificate that it signed itself; its URL."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    _write_certificate(directory)
    site = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for was, becomes in (
        (r"127\.0\.0\.1:8000", f"127.0.0.1:{upstream_port}"),
        (r"listen 443 ", f"listen 127.0.0.1:{port} "),
        (r"listen 80;", f"listen 127.0.0.1:{free_port()};"),
        (r" *listen \[::\]:.*\n", ""),
        (r"/etc/ssl/tuningfork", str(directory)),
        (r"/var/log/nginx", str(directory)),
    ):
        site, count = re.subn(was, becomes, site)
        assert count, was
    (directory / "site.conf").write_text(site)
    temporary = "\n".join(
        f"{each}_temp_path {directory}/{each};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"daemon off; pid {directory}/pid; error_log {directory}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} include {directory}/site.conf; }}\n"
    )
    # As root, its workers would be another user's, who cannot read the directories of tests.
    user = ("-g", "user root;") if os.geteuid() == 0 else ()
    command = (NGINX, "-p", directory, "-e", directory / "error.log", "-c", directory / "nginx.conf", *user)
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert tried.returncode == 0, tried.stderr
    with ended_at_the_end(*command):
        url = f"https://{HOST}:{port}"
        yield url, lambda **options: _client(url, port, directory, **options)


def _client(url, port, directory, **options):
    """A client that finds the proxy's name at the loopback address, and trusts its certificate."""
    trusted = ssl.create_default_context(cafile=directory / "fullchain.pem")
    return httpx.Client(
        base_url=f"https://127.0.0.1:{port}",
        verify=trusted,
        headers={"host": HOST},
        timeout=PATIENCE_SECONDS,
        **options,
    )


def _write_certificate(directory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "privkey.pem").write_bytes(private)


def test_a_streamed_answer_comes_through_nginx(server, tmp_path):
    question = {"contents": [{"parts": [{"text": "one"}]}]}
    path = "/v1beta/models/tuningfork-mini-001:streamGenerateContent?alt=sse"

    with nginx_before(httpx.URL(server.url).port, tmp_path) as (_, client), client() as caller:
        wait_until(lambda: _is_up(caller), what="nginx answers")
        headers = {"x-goog-api-key": server.key}
        with caller.stream("POST", path, json=question, headers=headers) as answer:
            events = [line for line in answer.iter_lines() if line.startswith("data: ")]
        models = caller.get("/v1beta/models", headers=headers)
        without = caller.get("/v1beta/models")
        in_query = caller.get("/v1beta/models", params={"key": server.key})
        large = caller.post("/v1beta/tunedModels", content=b" " * (9 * 2**20), headers=headers)
        log = tmp_path / "tuningfork.log"
        wait_until(lambda: "POST /v1beta/tunedModels" in log.read_text(), what="nginx has logged the requests")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert json.loads(events[-1].removeprefix("data: "))["candidates"][0]["finishReason"]
    assert models.json()["models"]
    assert in_query.json()["models"]
    assert '"GET /v1beta/models" 200' in log.read_text()
    assert "key=" not in log.read_text()
    assert without.json()["error"]["status"] == "PERMISSION_DENIED"
    # The server's own error, and not nginx's page.
    assert large.json()["error"]["status"] == "INVALID_ARGUMENT"


def _is_up(caller):
    try:
        return caller.get("/healthz").is_success
    except httpx.TransportError:
        return False


def test_nginx_passes_each_event_on_before_the_next_one_is_there(tmp_path):
    seen = threading.Event()
    forwarded = []

    class Upstream(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            forwarded.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for event in EVENTS:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                self.wfile.flush()
                # The second event exists only when the caller has the first.
                seen.wait(PATIENCE_SECONDS)
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_arguments):
            pass

    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    serving = threading.Thread(target=upstream.serve_forever)
    serving.start()
    try:
        with nginx_before(upstream.server_port, tmp_path) as (url, client), client() as caller:
            wait_until(lambda: _can_connect(url), what="nginx listens")
            pieces = []
            with caller.stream("GET", "/a/b:c%2Fd?e=f") as answer:
                for piece in answer.iter_raw():
                    pieces.append(piece)
                    assert b"".join(pieces).startswith(EVENTS[0])
                    assert seen.is_set() or b"".join(pieces) == EVENTS[0]
                    seen.set()
    finally:
        seen.set()
        upstream.shutdown()
        upstream.server_close()
        serving.join()

    assert b"".join(pieces) == b"".join(EVENTS)
    assert forwarded[0]["x-forwarded-proto"] == "https"
    assert forwarded[0]["x-forwarded-for"] == "127.0.0.1"
    assert forwarded[0]["host"] == HOST


def _can_connect(url):
    try:
        socket.create_connection(("127.0.0.1", httpx.URL(url).port), timeout=5).close()
    except OSError:
        return False
    return True
