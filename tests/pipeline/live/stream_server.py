"""A camera on the network, for the tests: python stream_server.py PORT [mpegts|mjpeg|silent]

It serves moving grey pictures over HTTP in real time, 25 a second, to everyone who asks; `/secret` wants a password.
Run as a program, so that a test can kill it like a power cut would.
"""

import base64
import sys
import time
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import cv2
import numpy as np

FPS, WIDTH, HEIGHT = 25, 160, 120
KIND = sys.argv[2] if len(sys.argv) > 2 else "mpegts"


def picture(index):
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    image[:, (index * 4) % WIDTH :][:, :20] = 220
    return image


class Camera(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/secret"):
            wanted = "Basic " + base64.b64encode(b"user:hunter2").decode()
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        with suppress(OSError, av.error.FFmpegError):
            {"mpegts": self._mpegts, "mjpeg": self._mjpeg, "silent": self._silent}[KIND]()

    def _mpegts(self):
        self._start("video/mp2t")
        with av.open(self.wfile, "w", format="mpegts") as out:
            stream = out.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.gop_size = 10
            for index in self._clock():
                frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, FPS)
                out.mux(stream.encode(frame))
                self.wfile.flush()

    def _mjpeg(self):
        self._start("multipart/x-mixed-replace; boundary=frame")
        for index in self._clock():
            data = cv2.imencode(".jpg", picture(index))[1].tobytes()
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            self.wfile.write(data + b"\r\n")
            self.wfile.flush()

    def _silent(self):
        """Two seconds of pictures, then nothing, with the connection left open."""
        self._start("multipart/x-mixed-replace; boundary=frame")
        for index in self._clock():
            if index > 2 * FPS:
                time.sleep(60)
            data = cv2.imencode(".jpg", picture(index))[1].tobytes()
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            self.wfile.write(data + b"\r\n")
            self.wfile.flush()

    def _start(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _clock(self):
        zero, index = time.monotonic(), 0
        while True:
            time.sleep(max(zero + index / FPS - time.monotonic(), 0))
            yield index
            index += 1

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Camera)
    print("ready", flush=True)
    server.serve_forever()
