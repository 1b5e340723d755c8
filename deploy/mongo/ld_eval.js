// Lets LD Eval's user write LD Eval's results, and nothing of ours. LD Eval keeps them in the database that it reads, in
// metrics.<prj>, factors.<prj> and strategic_indicators.<prj>. A role of MongoDB names a whole database or single
// collections, never a prefix. So this script runs as long as MongoDB does and gives the role `ldEval` three collections
// for each project: for the teams of the credentials file before their first event, for others when their first document
// is stored.
const fs = require("fs");
const secrets = process.env.SECRETS || "/run/secrets";
const name = process.env.MONGO_DB || "event_dashboard";
const teachers = process.env.CREDENTIALS_FILE || "/config_files/credentials_config.json";
const password = encodeURIComponent(fs.readFileSync(`${secrets}/root_password`, "utf8").trim());
const hosts = process.env.MONGO_HOSTS || "mongo:27017";
const uri = `mongodb://root:${password}@${hosts}/${name}?authSource=admin`;
const writes = ["metrics", "factors", "strategic_indicators"];
const actions = ["find", "insert", "update", "remove", "createCollection", "createIndex"];

process.on("SIGTERM", () => process.exit(0));

// The teams that the credentials file lists; of a file that is absent or broken, none.
function listed() {
  try {
    const courses = Object.values(JSON.parse(fs.readFileSync(teachers, "utf8")));
    return courses.flatMap((course) => course.teams || []);
  } catch {
    return [];
  }
}

// The projects that have a document: `github_TeamA.commits` is of TeamA.
function stored(ours) {
  const projects = [];
  for (const collection of ours.getCollectionNames()) {
    const found = collection.match(/^(github|taiga|excel)_([A-Za-z0-9_-]{1,64})[.]/);
    if (found) projects.push(found[2]);
  }
  return projects;
}

let ours, granted, trouble;
for (;;) {
  try {
    ours ||= connect(uri);
    const projects = [...new Set([...listed(), ...stored(ours)])].sort();
    if (projects.join() !== granted) {
      const privileges = [];
      for (const prj of projects) {
        for (const kind of writes) privileges.push({ resource: { db: name, collection: `${kind}.${prj}` }, actions });
      }
      const there = ours.runCommand({ rolesInfo: "ldEval" }).roles.length > 0;
      ours.runCommand({ [there ? "updateRole" : "createRole"]: "ldEval", privileges, roles: [] });
      ours.grantRolesToUser("ld_eval", ["ldEval"]);
      granted = projects.join();
      print(`projects whose results ld_eval may write: ${projects.length}`);
    }
    trouble = undefined;
  } catch (error) {
    // An outage is one line.
    if (trouble !== error.message) print(`cannot grant LD Eval its rights, tries again: ${error.message}`);
    trouble = error.message;
  }
  sleep(1000);
}
