#!/usr/bin/env python3
"""Refuses dependencies that no source file of their package names.

A dependency that is there for its features only has a comment in its line of Cargo.toml that begins with `unused:` and
says why.
"""

import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLES = ("dependencies", "dev-dependencies", "build-dependencies")


def tables(manifest):
    yield from (manifest.get(table, {}) for table in TABLES)
    for target in manifest.get("target", {}).values():
        yield from (target.get(table, {}) for table in TABLES)


def unused(folder):
    text = (folder / "Cargo.toml").read_text()
    inner = [path.parent for path in folder.rglob("Cargo.toml") if path.parent != folder]
    files = [path for path in folder.rglob("*.rs") if not any(path.is_relative_to(other) for other in inner)]
    code = "\n".join(line for path in files for line in path.read_text().splitlines() if not line.lstrip().startswith("//"))
    named = {name for table in tables(tomllib.loads(text)) for name in table}
    for name in sorted(named):
        explained = re.search(rf"^{re.escape(name)}\b.*# unused: \S", text, re.MULTILINE)
        word = name.replace("-", "_")
        if not explained and not re.search(rf"\b{word}(::|!|;| as |\b\}})|\bextern crate {word}\b|\b{word},", code):
            yield name


def main():
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    folders = [folder for member in members for folder in sorted(ROOT.glob(member)) if (folder / "Cargo.toml").exists()]
    if len(folders) < len(members):
        sys.exit("Cargo.toml names members that are not there")
    found = [f"{folder.relative_to(ROOT)}/Cargo.toml: {name}" for folder in folders for name in unused(folder)]
    if found:
        sys.exit("unused dependencies; remove them, or say `# unused: why` in their line:\n  " + "\n  ".join(found))
    print(f"{len(folders)} packages, no unused dependency")


main()
