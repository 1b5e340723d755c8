#!/usr/bin/env python3
"""Checks deploy/monitoring: promtool loads the rules, makes each alert's condition true, and parses every expression of the
dashboard; amtool loads Alertmanager's configuration. A missing tool is taken out of Debian's package (nothing is
installed); where that is not possible either, this says what it left out and parses the files.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parent.parent
target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
prometheus, grafana = (root / "deploy" / "monitoring" / part for part in ("prometheus", "grafana"))


def fetched(program, package="prometheus"):
    """A program on PATH, or the one of Debian's package, unpacked under target/."""
    kept = target / program
    found = shutil.which(program) or (kept.exists() and str(kept))
    if found or not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return found
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if os.geteuid() == 0:
            subprocess.run(["apt-get", "update"], **quiet)
        if subprocess.run(["apt-get", "download", package], **quiet).returncode:
            return None
        file = next(pathlib.Path(folder).glob(f"{package}_*.deb"), None)
        if not file or subprocess.run(["dpkg-deb", "-x", file, folder], **quiet).returncode:
            return None
        for each in (pathlib.Path(folder) / "usr" / "bin").iterdir():
            shutil.copy(each, target / each.name)
    return str(kept)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, cwd=prometheus)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")


dashboard = json.loads((grafana / "ld-connect.json").read_text())


def expressions():
    """Title and expression of everything that a panel shows."""
    for panel in dashboard["panels"]:
        for aim in panel.get("targets", []):
            yield panel["title"], aim["expr"].replace("$__rate_interval", "5m")


def main():
    asked = list(expressions())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)), "two panels of the dashboard have the same id"
    for panel in dashboard["panels"]:
        assert panel["type"] == "row" or panel["description"], f"{panel['title']} does not say what it shows"

    alerts = [line.split(":")[1].strip() for line in (prometheus / "rules.yml").read_text().splitlines() if "- alert:" in line]
    tests = (prometheus / "rules_test.yml").read_text()
    untested = [alert for alert in alerts if f"alertname: {alert}\n" not in tests]
    assert alerts and not untested, f"rules_test.yml does not make these true: {untested}"

    operations = (root / "docs" / "operations.md").read_text()
    unsaid = [alert for alert in alerts if f"`{alert}`" not in operations]
    assert not unsaid, f"docs/operations.md does not list {unsaid}"

    amtool = fetched("amtool", "prometheus-alertmanager")
    if amtool:
        run(amtool, "check-config", "../alertmanager/alertmanager.yml")
    else:
        print("left out: amtool (apt-get install prometheus-alertmanager)")

    tool = fetched("promtool")
    if tool:
        run(tool, "check", "config", "prometheus.yml")
        run(tool, "check", "rules", "rules.yml")
        run(tool, "test", "rules", "rules_test.yml")
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            # An expression is understood when it can be a rule.
            rules = [{"record": "x", "labels": {"n": str(n)}, "expr": expr} for n, (_, expr) in enumerate(asked)]
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            run(tool, "check", "rules", file.name)
        print(f"{len(alerts)} alerts fire in their tests, and {len(asked)} expressions of the dashboard are understood")
    else:
        print("left out: promtool (apt-get install prometheus); no alert was tried")
        try:
            import yaml
        except ImportError:
            print("left out: the YAML files (pip install pyyaml)")
        else:
            for file in sorted((root / "deploy" / "monitoring").glob("**/*.yml")):
                yaml.safe_load(file.read_text())
        print(f"read the dashboard and the names of {len(alerts)} alerts, each of which has a test")


if __name__ == "__main__":
    main()
