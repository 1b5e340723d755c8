// Run once by MongoDB's image, when its volume is empty: makes the users of our database. `worker` reads and writes it,
// and makes its collections and indexes. `ld_eval` reads it; ld_eval.js lets it write its results.
const fs = require("fs");
const secret = (name) => fs.readFileSync(`${process.env.SECRETS || "/run/secrets"}/${name}`, "utf8").trim();
const name = process.env.MONGO_DB || "event_dashboard";
const users = db.getSiblingDB(name);
const actions = ["find", "insert", "update", "remove", "createCollection", "createIndex", "listCollections", "listIndexes", "dropCollection"];
users.createRole({
  role: "ldConnectWorker",
  privileges: [{ resource: { db: name, collection: "" }, actions }],
  roles: [],
});
users.createUser({ user: "worker", pwd: secret("worker_password"), roles: ["ldConnectWorker"] });
users.createUser({ user: "ld_eval", pwd: secret("ld_eval_password"), roles: [{ role: "read", db: name }] });
