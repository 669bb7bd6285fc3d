"""A local file server that fails as requested."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FaultyServer:
    """Serve ``files`` by path; the next requests for a path get its ``faults``, in order.

    A fault is a dict with any of: ``status`` and ``headers`` (a response without a body), ``body``
    (another file), ``cut`` (number of bytes before the connection closes), ``stall`` (seconds without
    data before it closes), ``length`` (a wrong Content-Length) and ``no_range``.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range
    bytes_per_s: float | None = None  # per connection

    def ranges(self, path: str) -> list[str | None]:
        return [value for requested, value in self.requests if requested == path]


@contextmanager
def serve() -> Iterator[FaultyServer]:
    """Run a server."""
    faulty = FaultyServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            faulty.requests.append((self.path, self.headers.get("Range")))
            queue = faulty.faults.get(self.path, [])
            with suppress(ConnectionError):  # the client has closed the connection
                self.respond(queue.pop(0) if queue else {})

        def respond(self, fault: dict[str, Any]) -> None:
            body = fault.get("body", faulty.files.get(self.path))
            if "status" in fault or body is None:
                self.begin(fault.get("status", 404), {"Content-Length": 0, **fault.get("headers", {})})
                return
            headers: dict[str, Any] = {}
            requested = self.headers.get("Range")
            start = 0
            if requested and not fault.get("no_range"):
                start = int(requested.removeprefix("bytes=").rstrip("-"))
            rest = body[start:]
            if start and not rest:
                self.begin(416, {"Content-Length": 0})
                return
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.begin(
                206 if start else 200, {"Content-Length": fault.get("length", len(rest)), **headers}
            )
            self.send(rest[: fault.get("cut")])
            time.sleep(fault.get("stall", 0))
            self.close_connection = bool(fault)

        def begin(self, status: int, headers: dict[str, Any]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()

        def send(self, data: bytes) -> None:
            step = len(data) if faulty.bytes_per_s is None else 8192
            for start in range(0, len(data), max(step, 1)):
                self.wfile.write(data[start : start + step])
                time.sleep(0 if faulty.bytes_per_s is None else step / faulty.bytes_per_s)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    faulty.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield faulty
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
