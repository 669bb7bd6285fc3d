"""A file server on this machine that does what servers in the wild do."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """What one request said."""

    path: str
    range: str | None
    if_range: str | None


@dataclass
class FaultyServer:
    """``files`` by path, and for each path the ``faults`` of its next requests.

    A fault is a dict with any of: ``status`` and ``headers`` (an answer without a file), ``body``
    (another file, once), ``cut`` (how many bytes of the body come before the connection drops),
    ``stall`` (how many come before nothing does for a second), ``ignore_range``, ``no_length``,
    ``chunked`` (its length is told a piece at a time), ``claim`` (a false length), ``type``,
    ``slam`` (no answer at all).
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    etags: bool = True
    rate: float | None = None  # bytes a second and connection

    def ranges(self, path: str) -> list[str | None]:
        return [each.range for each in self.asked if each.path == path]


def etag_of(body: bytes) -> str:
    return f'"{sha1(body).hexdigest()}"'


@contextmanager
def serve() -> Iterator[FaultyServer]:
    """A running server."""
    faulty = FaultyServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "faulty"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked = Asked(self.path, self.headers.get("Range"), self.headers.get("If-Range"))
            faulty.asked.append(asked)
            queue = faulty.faults.get(self.path, [])
            try:
                self.answer(asked, queue.pop(0) if queue else {})
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def answer(self, asked: Asked, fault: dict[str, Any]) -> None:
            if "slam" in fault:
                self.close_connection = True
                return
            body = fault.get("body", faulty.files.get(self.path))
            if "status" in fault or body is None:
                self.send_response(fault.get("status", 404))
                for name, value in {"Content-Length": "0", **fault.get("headers", {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                return
            start, etag = 0, etag_of(body)
            whole = (
                asked.range is None or fault.get("ignore_range") or asked.if_range not in (None, etag)
            )
            if not whole:
                start = int((asked.range or "").removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            self.send_response(200 if whole else 206)
            if faulty.etags:
                self.send_header("ETag", etag)
            if not whole:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Type", fault.get("type", "application/gzip"))
            rest = body[start:]
            if "chunked" in fault:
                self.send_header("Transfer-Encoding", "chunked")
            elif "no_length" in fault:
                self.close_connection = True
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(fault.get("claim", len(rest))))
            self.end_headers()
            stop = fault.get("cut", fault.get("stall"))
            if "chunked" in fault:
                self.send_chunked(rest[:stop], ends=stop is None)
            else:
                self.send(rest[:stop])
            if stop is not None or "claim" in fault:
                time.sleep(1 if "stall" in fault else 0)
                self.close_connection = True

        def send_chunked(self, data: bytes, ends: bool) -> None:
            for at in range(0, len(data), 5000):
                piece = data[at : at + 5000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if ends:
                self.wfile.write(b"0\r\n\r\n")

        def send(self, data: bytes) -> None:
            if faulty.rate is None:
                self.wfile.write(data)
                return
            for at in range(0, len(data), 8192):
                self.wfile.write(data[at : at + 8192])
                time.sleep(8192 / faulty.rate)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # whoever asked has hung up
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    faulty.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield faulty
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
