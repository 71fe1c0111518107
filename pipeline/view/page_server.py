"""Rerun's page, handed on with the order that the browser fetch nothing from anywhere else.

By itself the page asks rerun.io for a list of examples, sends usage statistics there and takes a font from Google; a
viewer of somebody's camera has no business outside this machine. A Content-Security-Policy makes the browser refuse.
"""

from __future__ import annotations

import http.client
import threading
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"
_SECONDS = 30.0


def policy(data_port: int) -> str:
    """What the page may do: run its own program, and talk to Rerun's server on this machine."""
    here = f"http://{HOST}:{data_port} http://localhost:{data_port}"
    return (
        "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        f"connect-src 'self' data: blob: {here}"
    )


class PageServer:
    """Serves on `port` of the loopback (0: any, see self.port) what Rerun serves on `behind`, until close()."""

    def __init__(self, port: int, behind: int, data_port: int) -> None:
        rules = policy(data_port)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(OSError, http.client.HTTPException), _page(behind) as page:
                    page.request("GET", self.path)
                    answer = page.getresponse()
                    body = answer.read()
                    self.send_response(answer.status)
                    self.send_header("Content-Type", answer.getheader("Content-Type") or "application/octet-stream")
                    self.send_header("Content-Length", str(len(body)))
                    self.send_header("Content-Security-Policy", rules)
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _page(port: int) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(HOST, port, timeout=_SECONDS))
