#!/usr/bin/env python3
"""Stands in for GitHub's and Taiga's API in .ci/containers: one hook each, with one delivery that nobody answered, which
is signed and sent to 127.0.0.1:5000 when it is requested again.

    providers.py PORT PRJ GITHUB_SECRET TAIGA_SECRET
"""
import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, PRJ, GITHUB_SECRET, TAIGA_SECRET = int(sys.argv[1]), *sys.argv[2:]
NOW = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
HOOKS = "https://ld.example.edu/webhook"
answers = {"github": 0, "taiga": 0}

PUSH = {
    "repository": {"full_name": "example-organisation/missed", "name": "missed"},
    "sender": {"login": "me"},
    "commits": [{"id": "f" * 40, "message": "missed", "timestamp": NOW}],
}
STORY = {
    "type": "userstory", "action": "create", "date": NOW, "by": {"username": "me"},
    "data": {
        "id": 1, "ref": 1, "subject": "Missed", "created_date": NOW, "modified_date": NOW, "is_closed": False,
        "project": {"id": 7, "name": "Missed"}, "status": {"id": 1, "name": "New", "is_closed": False}, "points": [],
    },
}


def send(source, payload, headers):
    body = json.dumps(payload).encode()
    secret = GITHUB_SECRET if source == "github" else TAIGA_SECRET
    sign = lambda kind: hmac.new(secret.encode(), body, kind).hexdigest()
    if source == "github":
        headers |= {"X-Hub-Signature": "sha1=" + sign("sha1"), "X-Hub-Signature-256": "sha256=" + sign("sha256")}
    else:
        headers["X-TAIGA-WEBHOOK-SIGNATURE"] = sign("sha1")
    url = f"http://127.0.0.1:5000/webhook/{source}?prj={PRJ}"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    try:
        answers[source] = urllib.request.urlopen(request, timeout=15).status
    except (urllib.error.URLError, OSError) as error:
        answers[source] = getattr(error, "code", 0)
        print(source, error, flush=True)


def log():
    return {"id": 3, "webhook": 2, "created": NOW, "status": answers["taiga"], "request_data": STORY}


def get(path, query):
    delivery = {"id": 9, "guid": "missed-push", "delivered_at": NOW, "event": "push", "status_code": answers["github"]}
    return {
        "/rate_limit": {"resources": {"core": {"limit": 5000, "remaining": 5000, "reset": 0}}},
        "/orgs/example-organisation/repos": [],
        "/orgs/example-organisation/hooks": [{"id": 1, "config": {"url": f"{HOOKS}/github?prj={PRJ}"}}],
        "/orgs/example-organisation/hooks/1/deliveries": [delivery],
        "/api/v1/projects/by_slug": {"id": 7} if query == "slug=example-project" else None,
        "/api/v1/webhooks": [{"id": 2, "url": f"{HOOKS}/taiga?prj={PRJ}", "key": TAIGA_SECRET}],
        "/api/v1/webhooklogs": [log()],
    }.get(path)


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        value = get(path, query)
        self.answer(404 if value is None else 200, {"message": "Not Found"} if value is None else value)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/orgs/example-organisation/hooks/1/deliveries/9/attempts":
            send("github", PUSH, {"X-GitHub-Event": "push", "X-GitHub-Delivery": "missed-push"})
            self.answer(202, {})
        elif self.path == "/api/v1/webhooklogs/3/resend":
            send("taiga", STORY, {})
            self.answer(200, log())
        else:
            self.answer(404, {"message": "Not Found"})


ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
