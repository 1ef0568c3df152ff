"""A client that keeps so many streams open and notes when each piece came; a process of its own.

    python bench/stream_client.py HOST PORT KEY STREAMS ROUNDS TOKENS MODEL [MODEL ...] > times.json

Bare non-blocking sockets and one loop, so that the client is not what is measured: it looks at a piece only when all
have come. Writes, for each request, its seed, when it was sent, and when each event came (monotonic seconds).
"""

import json
import selectors
import socket
import sys
import time

END = b"0\r\n\r\n"
STAGGER_SECONDS = 0.02


class Stream:
    """One connection, which sends one request after the other."""

    def __init__(self, address: tuple[str, int], key: str, model: str, seeds: list[int], tokens: int) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = [(seed, self._request(key, model, seed, tokens)) for seed in reversed(seeds)]
        self.done: list[tuple[int, float, list[tuple[float, bytes]]]] = []

    @staticmethod
    def _request(key: str, model: str, seed: int, tokens: int) -> bytes:
        config = {"temperature": 1.0, "maxOutputTokens": tokens, "seed": seed}
        body = json.dumps({"contents": [{"parts": [{"text": f"a{seed}"}]}], "generationConfig": config}).encode()
        return (
            f"POST /v1beta/{model}:streamGenerateContent?alt=sse HTTP/1.1\r\nHost: localhost\r\nx-goog-api-key: {key}"
            f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def send(self) -> bool:
        """The next request; False if there is none."""
        if not self.requests:
            return False
        seed, request = self.requests.pop()
        self.done.append((seed, time.monotonic(), []))
        self.socket.sendall(request)
        return True

    def receive(self) -> bool:
        """What has come; whether the answer is complete."""
        data = self.socket.recv(1 << 16)
        self.done[-1][2].append((time.monotonic(), data))
        if not data:
            raise SystemExit("the server closed a connection")
        return data.endswith(END)


def main() -> None:
    host, port, key, streams, rounds, tokens, *models = sys.argv[1:]
    begin = time.monotonic_ns() % 1_000_000_000
    waiting = selectors.DefaultSelector()
    every = []
    for number in range(int(streams)):
        seeds = [begin + number * 10_000 + each for each in range(int(rounds))]
        stream = Stream((host, int(port)), key, models[number % len(models)], seeds, int(tokens))
        waiting.register(stream.socket, selectors.EVENT_READ, stream)
        every.append(stream)
    busy, asleep = len(every), list(every)
    while busy:
        if asleep:
            # Not all at one instant: they would read their prompts together and end together.
            asleep.pop().send()
        for key_of, _ in waiting.select(STAGGER_SECONDS if asleep else None):
            stream = key_of.data
            if stream.receive() and not stream.send():
                waiting.unregister(stream.socket)
                busy -= 1
    requests = []
    for stream in every:
        for seed, sent, pieces in stream.done:
            if not pieces[0][1].startswith(b"HTTP/1.1 200"):
                raise SystemExit(pieces[0][1].decode())
            events = [came for came, data in pieces for _ in range(data.count(b"data: {"))]
            requests.append({"seed": seed, "sent": sent, "events": events})
    json.dump(requests, sys.stdout)


if __name__ == "__main__":
    main()
