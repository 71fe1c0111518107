"""Rerun's page and its data, handed on from one port, to that page alone.

By itself the page asks rerun.io for a list of examples, sends usage statistics there and takes a font from Google; and
Rerun's server lets web pages of any origin read what it holds. A viewer of somebody's camera has no business outside
this machine, so the page comes with a Content-Security-Policy, the data from the same origin as the page without any
permission for others, and Rerun itself listens where nobody finds it (see hidden_host).
"""

from __future__ import annotations

import http.client
import secrets
import socket
import threading
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:"
)
_SECONDS = 30.0
_CHUNK = 1 << 16


def hidden_host() -> str:
    """A loopback address that cannot be guessed: Linux answers to all of 127.0.0.0/8. Elsewhere, the usual one."""
    name = "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))
    with suppress(OSError), socket.socket() as trial:
        trial.bind((name, 0))
        return name
    return HOST


class PageServer:
    """Serves on `port` of the loopback (0: any, see self.port) until close(): what `page` serves, and the calls to
    `data`, both (host, port)."""

    def __init__(self, port: int, page: tuple[str, int], data: tuple[str, int]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not self._asked_here():
                    return
                with suppress(OSError, http.client.HTTPException), _link(page, _SECONDS) as link:
                    link.request("GET", self.path)
                    answer = link.getresponse()
                    body = answer.read()
                    self._begin(answer)
                    self.send_header("Content-Length", str(len(body)))
                    self.send_header("Content-Security-Policy", POLICY)
                    self.end_headers()
                    self.wfile.write(body)

            def do_POST(self) -> None:
                """A gRPC-web call, whose answer goes on for as long as there are pictures."""
                if not self._asked_here():
                    return
                with suppress(OSError, http.client.HTTPException), _link(data, None) as link:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    kept = {k: v for k, v in self.headers.items() if k.lower() in _PASSED}
                    link.request("POST", self.path, body, kept)
                    answer = link.getresponse()
                    self._begin(answer)
                    self.end_headers()
                    while part := answer.read1(_CHUNK):
                        self.wfile.write(part)

            def _asked_here(self) -> bool:
                """Not by a name of somebody else's that was made to point to this machine."""
                name = (self.headers.get("Host") or "").rpartition(":")[0]
                if name in (HOST, "localhost"):
                    return True
                self.send_error(403)
                return False

            def _begin(self, answer: http.client.HTTPResponse) -> None:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type") or "application/octet-stream")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.socket.close()  # and no wait for answers that go on
        self._thread.join()


_PASSED = ("content-type", "accept", "x-grpc-web", "x-user-agent", "grpc-timeout")


def _link(to: tuple[str, int], seconds: float | None) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(*to, timeout=seconds))
