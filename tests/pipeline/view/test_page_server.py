"""Pages handed on with a policy: what stands behind is a server of the test's own."""

import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from posepipe.pipeline.view.page_server import PageServer, policy


class Behind(BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path.startswith("/app.wasm")
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/wasm")
        self.end_headers()
        self.wfile.write(bytes(range(256)) * 1000 if found else b"")

    def log_message(self, *args):
        pass


@pytest.fixture
def page():
    behind = ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    served = PageServer(0, behind.server_address[1], 9876)
    yield f"http://127.0.0.1:{served.port}"
    served.close()
    behind.shutdown()
    behind.server_close()


def test_what_is_handed_on_is_the_same_and_has_the_policy(page):
    with urllib.request.urlopen(f"{page}/app.wasm?url=x", timeout=10) as answer:
        assert answer.read() == bytes(range(256)) * 1000
        assert answer.headers["Content-Type"] == "application/wasm"
        assert answer.headers["Content-Security-Policy"] == policy(9876)
        assert "Access-Control-Allow-Origin" not in answer.headers
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{page}/missing", timeout=10)
    assert error.value.code == 404


def test_the_policy_names_this_machine_only():
    rules = dict(rule.strip().split(" ", 1) for rule in policy(9876).split(";"))
    assert rules["default-src"] == "'none'"
    hosts = [word for rule in rules.values() for word in rule.split() if "://" in word]
    assert hosts == ["http://127.0.0.1:9876", "http://localhost:9876"]
