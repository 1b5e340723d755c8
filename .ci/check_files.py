#!/usr/bin/env python3
"""Checks the files that no compiler reads: the shell script beside this one, the variables of
compose.yaml and of the source against .env.example's, JSON that teachers edit. Uses the standard library only."""
import json
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
problems = []

subprocess.run(["bash", "-n", str(root / ".ci" / "run")], check=True)

compose = (root / "compose.yaml").read_text()
documented = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (root / ".env.example").read_text(), re.M))
used = set(re.findall(r"\$\{([A-Z][A-Z0-9_]+)", compose))
problems += [f"compose.yaml reads {name}, which .env.example does not explain" for name in sorted(used - documented)]

# A setting is a field with `env = "NAME"`.
for source in sorted(file for part in ("shared", "ingress", "worker") for file in (root / part).glob("src/**/*.rs")):
    for name in sorted(set(re.findall(r'#\[arg\([^\]]*env = "([A-Z0-9_]+)"', source.read_text())) - documented):
        problems.append(f"{source.relative_to(root)} reads {name}, which .env.example does not explain")

for file in sorted(file for part in ("config_files", "deploy") for file in (root / part).glob("**/*.json")):
    try:
        json.loads(file.read_text())
    except ValueError as error:
        problems.append(f"{file.relative_to(root)}: {error}")

for service in ("nats", "mongo", "ingress", "worker"):
    if not re.search(rf"^  {service}:$", compose, re.M):
        problems.append(f"compose.yaml has no service {service}")
for path in re.findall(r"(?:dockerfile: |- \./)([\w./-]+)", compose):
    if not (root / path).exists() and "/secrets/" not in path:
        problems.append(f"compose.yaml names {path}, which is not there")

print("\n".join(problems) or "nothing to complain about")
sys.exit(1 if problems else 0)
