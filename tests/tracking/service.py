"""A local server that implements the part of W&B's API that wandb uses to send runs."""

import gzip
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

ENTITY, KEY = "team", "a" * 40
HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"


@dataclass
class Run:
    """A received run.

    Attributes:
        about: variables of `UpsertBucket`, the last non-empty value of each.
        files: lines by offset of ``wandb-history.jsonl`` and other files.
        exits: exit codes in order.
        uploads: contents of uploaded files by name.
    """

    about: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[int, str]] = field(default_factory=dict)
    exits: list[int] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        return {name: each["value"] for name, each in json.loads(self.about["config"]).items()}

    @property
    def history(self) -> list[dict[str, Any]]:
        lines = self.files.get(HISTORY, {})
        return [json.loads(lines[place]) for place in sorted(lines)]

    @property
    def summary(self) -> dict[str, Any]:
        lines = self.files.get(SUMMARY, {})
        return json.loads(lines[max(lines)]) if lines else {}

    def curve(self, name: str) -> list[Any]:
        return [row[name] for row in self.history if name in row]


@dataclass
class Service:
    """Store runs, artifacts and views by id, and all GraphQL operations in order."""

    url: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    # ---- GraphQL operations

    def answer(self, query: str, variables: dict[str, Any]) -> Any:
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found is not None else query
        self.asked.append((name, variables))
        known: Callable[[dict[str, Any]], Any] | None = getattr(self, f"on_{name.lower()}", None)
        if known is None:
            self.unknown.append(query)
            return {"errors": [{"message": f"{name} is not implemented"}]}
        return {"data": known(variables)}

    def on_viewer(self, _: dict[str, Any]) -> Any:
        teams = {"edges": [{"node": {"name": ENTITY}}]}
        return {"viewer": {"id": "V", "entity": ENTITY, "username": "me", "email": "me@x", "flags": "{}",
                           "teams": teams}}  # fmt: skip

    def on_getdefaultentity(self, _: dict[str, Any]) -> Any:
        return {"viewer": {"id": "V", "entity": ENTITY}}

    def on_upsertview(self, given: dict[str, Any]) -> Any:
        new = given.get("id") is None
        number = f"VIEW{len(self.views)}" if new else given["id"]
        assert new or number in self.views
        self.views[number] = given
        project = {"id": "P", "name": given["projectName"], "entityName": given["entityName"]}
        view = {name: given.get(name) for name in ("type", "name", "displayName", "description", "spec")}
        answer = {**view, "id": number, "project": project, "updatedAt": "2026-01-01T00:00:00"}
        return {"upsertView": {"view": answer, "inserted": new}}

    on_upsertview2 = on_upsertview

    def on_projectinternalid(self, given: dict[str, Any]) -> Any:
        return {"project": {"id": "P", "internalId": f"I-{given['projectName']}"}}

    def on_getprojects(self, given: dict[str, Any]) -> Any:
        node = {
            "__typename": "Project", "id": "P", "name": "kitsseg", "entityName": given["entity"],
            "createdAt": "2026-01-01T00:00:00", "isBenchmark": False, "user": None,
        }  # fmt: skip
        pages = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"pageInfo": pages, "edges": [{"node": node}]}}

    def on_organizationcoreweaveorganizationid(self, _: dict[str, Any]) -> Any:
        return {"entity": {"organization": None}}

    def on_serverfeaturesquery(self, _: dict[str, Any]) -> Any:
        return {"serverInfo": {"features": []}}

    def on_artifacttype(self, _: dict[str, Any]) -> Any:
        return {"project": {"artifact": None}}

    def on_upsertbucket(self, given: dict[str, Any]) -> Any:
        number = given.get("name") or given["id"].removeprefix("storage-")
        new = number not in self.runs
        run = self.runs.setdefault(number, Run())
        run.about |= {name: value for name, value in given.items() if value is not None}
        return {"upsertBucket": {"bucket": self._bucket(number), "inserted": new}}

    def on_runresumestatus(self, given: dict[str, Any]) -> Any:
        there = given["name"] in self.runs
        bucket = self._bucket(given["name"]) if there else None
        return {"model": {**self._project(given["project"]), "bucket": bucket}}

    def _project(self, name: str) -> dict[str, Any]:
        return {"id": f"P-{name}", "name": name, "entity": {"id": "E", "name": ENTITY}}

    def _bucket(self, number: str) -> dict[str, Any]:
        run = self.runs[number]
        counts = {
            f"{kind}LineCount": max(run.files.get(name, {-1: ""})) + 1
            for kind, name in (
                ("history", HISTORY), ("events", "wandb-events.jsonl"), ("log", "output.log")
            )
        }  # fmt: skip
        tails = {
            f"{kind}Tail": json.dumps([lines[max(lines)]] if (lines := run.files.get(name)) else [])
            for kind, name in (("history", HISTORY), ("events", "wandb-events.jsonl"))
        }
        return {
            "id": f"storage-{number}", "name": number, "description": "", "notes": None,
            "displayName": run.about.get("displayName", number), "sweepName": None,
            "config": run.about.get("config", "{}"),
            "tags": run.about.get("tags", []), "summaryMetrics": json.dumps(run.summary),
            "wandbConfig": json.dumps({"t": 1}),
            "project": self._project(run.about["project"]), **counts, **tails,
        }  # fmt: skip

    def on_createrunfiles(self, given: dict[str, Any]) -> Any:
        address = f"{self.url}/storage/{given['run']}/"
        files = [{"name": name, "uploadUrl": address + name} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def on_createartifact(self, given: dict[str, Any]) -> Any:
        about = given.get("input", given)
        number = f"A{len(self.artifacts)}"
        self.artifacts[number] = {**about, "files": {}, "state": "PENDING"}
        sequence = {"latestArtifact": None}
        return {
            "createArtifact": {
                "artifact": {"id": number, "state": "PENDING", "artifactSequence": sequence}
            }
        }

    def on_createartifactmanifest(self, given: dict[str, Any]) -> Any:
        address = f"{self.url}/storage/{given['artifactID']}/{given['name']}"
        file = {"id": "F", "uploadUrl": address, "uploadHeaders": []}
        return {
            "createArtifactManifest": {
                "artifactManifest": {"id": f"M-{given['artifactID']}", "file": file}
            }
        }

    def on_createartifactfiles(self, given: dict[str, Any]) -> Any:
        edges = []
        for each in given["input"]["artifactFiles"]:
            place = f"{each['artifactID']}/{each['name']}"
            node = {
                "storagePath": place, "uploadUrl": f"{self.url}/storage/{place}", "uploadHeaders": [],
                "uploadMultipartUrls": None, "artifact": {"id": each["artifactID"]},
            }  # fmt: skip
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def on_commitartifact(self, given: dict[str, Any]) -> Any:
        self.artifacts[given["artifactID"]]["state"] = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "d"}}}

    # ---- file streams

    def stream(self, number: str, sent: dict[str, Any]) -> Any:
        run = self.runs[number]
        for name, part in sent.get("files", {}).items():
            lines = run.files.setdefault(name, {})
            for place, line in enumerate(part["content"], part["offset"]):
                lines[place] = line
        if sent.get("complete"):
            run.exits.append(sent["exitcode"])
        return {}

    def store(self, place: str, data: bytes) -> None:
        owner, _, name = place.partition("/")
        held = self.runs[owner].uploads if owner in self.runs else self.artifacts[owner]["files"]
        held[name] = data

    def check_running(self) -> None:
        """Abort requests on connections that are still open after the server stopped."""
        if self.stopped.is_set():
            raise ConnectionAbortedError


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 64

    def handle_error(self, *_: Any) -> None:
        """Ignore closed connections."""


@contextmanager
def serving(service: Service, port: int = 0) -> Iterator[Service]:
    """Serve on a local port; refuse connections after the block."""
    handler = type("Bound", (Handler,), {"service": service})
    with Server(("127.0.0.1", port), handler) as server:
        service.stopped.clear()
        service.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield service
        finally:
            service.stopped.set()
            server.shutdown()


class Handler(http.server.BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        self.service.check_running()
        with self.service.lock:
            if self.path == "/graphql":
                sent = json.loads(data)
                self.reply(self.service.answer(sent["query"], sent.get("variables") or {}))
            elif found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
                self.reply(self.service.stream(found[1], json.loads(data)))
            else:
                self.reply({}, 404)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.service.check_running()
        with self.service.lock:
            self.service.store(self.path.removeprefix("/storage/"), data)
            self.reply({})

    def do_GET(self) -> None:
        self.reply({})

    do_HEAD = do_GET

    def reply(self, answer: Any, status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Print nothing."""
