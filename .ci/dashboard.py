#!/usr/bin/env python3
"""Looks at the Grafana dashboard's data without a Grafana: a Prometheus scrapes a stack of `cargo dev`, and every
expression of every panel must give something. Where check_monitoring.py could get no Prometheus, it says that it was
left out and ends well."""

import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from check_monitoring import expressions, fetched, prometheus
from pages import stack

# How long until everything was scraped often enough.
PATIENCE = 60


def main():
    program = fetched("prometheus")
    if not program:
        print("left out: prometheus (apt-get install prometheus); no expression was asked")
        return 0
    with stack() as told, tempfile.TemporaryDirectory() as folder:
        be_refused(told["INGRESS_URL"])
        pages = [told[name].removeprefix("http://") for name in ("INGRESS_ADMIN_URL", "WORKER_0_ADMIN_URL")]
        config = pathlib.Path(folder) / "prometheus.yml"
        jobs = [
            {"job_name": f"ldconnect-{job}", "static_configs": [{"targets": [page]}]}
            for job, page in zip(("ingress", "worker"), pages)
        ]
        rules = [str(prometheus / "rules.yml")]
        times = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config.write_text(json.dumps({"global": times, "rule_files": rules, "scrape_configs": jobs}))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        with subprocess.Popen(command) as server:
            try:
                return look(f"http://127.0.0.1:{port}/api/v1", server)
            finally:
                server.terminate()


def be_refused(ingress):
    """So that there is something to show of refusals: the documented sign of life."""
    try:
        urllib.request.urlopen(f"{ingress}/webhook/github?ping=1", data=b"{}", timeout=20)
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 403, refusal
    else:
        sys.exit("ingress took an unsigned webhook")


def ask(api, path, **query):
    with urllib.request.urlopen(f"{api}/{path}?{urllib.parse.urlencode(query)}", timeout=20) as answer:
        return json.load(answer)["data"]


def look(api, server):
    asked = list(expressions())
    missing, down, rules = asked, ["prometheus"], []
    deadline = time.monotonic() + PATIENCE
    while (missing or down) and time.monotonic() < deadline and server.poll() is None:
        time.sleep(0.5)
        try:
            missing = [one for one in missing if not ask(api, "query", query=one[1])["result"]]
            down = [it["labels"]["job"] for it in ask(api, "targets")["activeTargets"] if it["health"] != "up"]
            rules = [rule for group in ask(api, "rules")["groups"] for rule in group["rules"]]
        except OSError:
            # It is starting.
            continue
    problems = [f"{title} shows nothing: {expression}" for title, expression in missing]
    problems += [f"{job} is not scraped" for job in down]
    problems += [f"rule {rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] == "err"]
    print("\n".join(problems) or f"{len(asked)} expressions asked of a Prometheus, {len(rules)} rules evaluated")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
