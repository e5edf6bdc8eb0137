"""A server that speaks the file protocol of the Hugging Face Hub, for one process and small files."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse


class FakeHub:
    """Repositories in memory: commits, each a dictionary of files."""

    def __init__(self):
        self.repos = {}
        self.requests = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                hub.handle(self, b"")

            do_HEAD = do_GET

            def do_POST(self):
                hub.handle(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def files(self, repo, revision="main"):
        commits, refs = self.repos[repo]
        return commits[refs.get(revision, revision)]

    def handle(self, request, body):
        path = unquote(urlparse(request.path).path)
        self.requests.append((request.command, path))
        for pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path)
            if match:
                try:
                    answer(self, request, body, *match.groups())
                except KeyError:
                    missing = "RepoNotFound" if match.group(1) not in self.repos else "RevisionNotFound"
                    reply(request, 404, {"error": missing}, {"X-Error-Code": missing})
                return
        reply(request, 404, {"error": path}, {"X-Error-Code": "EntryNotFound"})


def reply(request, status, content, headers=None):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    request.send_response(status)
    for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(raw)


def create(hub, request, body):
    facts = json.loads(body)
    name = f"{facts['organization']}/{facts['name']}" if facts.get("organization") else f"me/{facts['name']}"
    commit = hashlib.sha1(name.encode()).hexdigest()
    hub.repos.setdefault(name, ({commit: {}}, {"main": commit}))
    reply(request, 200, {"url": f"{hub.url}/{name}", "name": name})


def branch(hub, request, body, repo, name):
    _, refs = hub.repos[repo]
    refs.setdefault(name, refs["main"])
    reply(request, 200, {})


def preupload(hub, request, body, repo, revision):
    hub.files(repo, revision)
    files = [
        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
    ]
    reply(request, 200, {"files": files})


def commit(hub, request, body, repo, revision):
    commits, refs = hub.repos[repo]
    files = dict(hub.files(repo, revision))
    for line in body.splitlines():
        entry = json.loads(line)
        if entry["key"] == "file":
            files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        elif entry["key"] == "deletedFile":
            del files[entry["value"]["path"]]
    oid = hashlib.sha1(json.dumps([revision, sorted(files), len(commits)]).encode()).hexdigest()
    commits[oid], refs[revision] = files, oid
    url = f"{hub.url}/{repo}/commit/{oid}"
    reply(request, 200, {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


def info(hub, request, body, repo, revision="main"):
    commits, refs = hub.repos[repo]
    oid = refs.get(revision, revision)
    siblings = [{"rfilename": name} for name in sorted(commits[oid])]
    reply(
        request, 200, {"id": repo, "modelId": repo, "sha": oid, "siblings": siblings, "private": False, "tags": []}
    )


def tree(hub, request, body, repo, revision):
    files = hub.files(repo, revision)
    entries = [
        {"type": "file", "path": name, "size": len(raw), "oid": hashlib.sha1(raw).hexdigest()}
        for name, raw in sorted(files.items())
    ]
    reply(request, 200, entries)


def resolve(hub, request, body, repo, revision, name):
    _, refs = hub.repos[repo]
    files = hub.files(repo, revision)
    if name not in files:
        reply(request, 404, {"error": name}, {"X-Error-Code": "EntryNotFound"})
        return
    etag = hashlib.sha1(files[name]).hexdigest()
    reply(request, 200, files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": refs.get(revision, revision)})


def validate(hub, request, body):
    reply(request, 200, {"errors": [], "warnings": []})


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (r"/api/repos/create", create),
    (r"/api/validate-yaml", validate),
    (rf"/api/models/{NAME}/branch/(.+)", branch),
    (rf"/api/models/{NAME}/preupload/(.+)", preupload),
    (rf"/api/models/{NAME}/commit/(.+)", commit),
    (rf"/api/models/{NAME}/revision/(.+)", info),
    (rf"/api/models/{NAME}/tree/([^/]+)/?", tree),
    (rf"/api/models/{NAME}", info),
    (rf"/{NAME}/resolve/([^/]+)/(.+)", resolve),
]
