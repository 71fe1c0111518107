"""Pages handed on with a policy: what stands behind is a server of the test's own."""

import http.client
import socket
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from posepipe.pipeline.view.page_server import POLICY, PageServer, hidden_host


class Behind(BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path.startswith("/app.wasm")
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/wasm")
        self.end_headers()
        self.wfile.write(bytes(range(256)) * 1000 if found else b"")

    def do_POST(self):
        """Two parts of an answer; the second only when the first has arrived."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", self.headers["Content-Type"])
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(body)
        self.server.arrived.wait(10)
        self.wfile.write(b" and more")

    def log_message(self, *args):
        pass


@pytest.fixture
def page():
    behind = ThreadingHTTPServer((hidden_host(), 0), Behind)
    behind.arrived = threading.Event()
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    served = PageServer(0, behind.server_address, behind.server_address)
    served.arrived = behind.arrived
    yield served
    served.close()
    behind.shutdown()
    behind.server_close()


def test_what_is_handed_on_is_the_same_and_has_the_policy(page):
    at = f"http://127.0.0.1:{page.port}"
    with urllib.request.urlopen(f"{at}/app.wasm?url=x", timeout=10) as answer:
        assert answer.read() == bytes(range(256)) * 1000
        assert answer.headers["Content-Type"] == "application/wasm"
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert "Access-Control-Allow-Origin" not in answer.headers
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{at}/missing", timeout=10)
    assert error.value.code == 404


def test_calls_are_answered_piece_by_piece_and_to_pages_of_no_other_origin(page):
    link = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    link.request("POST", "/call", b"first", {"Content-Type": "application/grpc-web", "Origin": "http://elsewhere"})
    answer = link.getresponse()
    assert answer.headers["Content-Type"] == "application/grpc-web"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.read1(100) == b"first"
    page.arrived.set()
    assert answer.read() == b" and more"
    link.request("OPTIONS", "/call", headers={"Origin": "http://elsewhere", "Access-Control-Request-Method": "POST"})
    assert link.getresponse().status == 501  # a browser that asks first is told no


def test_names_that_were_made_to_point_here_get_nothing(page):
    for method in ("GET", "POST"):
        link = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
        link.request(method, "/app.wasm", headers={"Host": f"elsewhere.example:{page.port}"})
        assert link.getresponse().status == 403


def test_the_policy_names_nobody():
    rules = dict(rule.strip().split(" ", 1) for rule in POLICY.split(";"))
    assert rules["default-src"] == "'none'"
    assert not [word for rule in rules.values() for word in rule.split() if "://" in word or word == "*"]


def test_a_hidden_host_is_on_this_machine_and_another_one_each_time():
    names = {hidden_host() for _ in range(5)}
    assert all(socket.inet_aton(name)[0] == 127 for name in names)
    assert len(names) > 1 or names == {"127.0.0.1"}
