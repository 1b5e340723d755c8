// Makes mongo1, mongo2 and mongo3 one replica set, unless they are one, and waits until it has a primary.
const fs = require("fs");
const secrets = process.env.SECRETS || "/run/secrets";
const hosts = (process.env.MONGO_HOSTS || "mongo1:27017,mongo2:27017,mongo3:27017").split(",");
const password = encodeURIComponent(fs.readFileSync(`${secrets}/root_password`, "utf8").trim());
const admin = connect(`mongodb://root:${password}@${hosts[0]}/admin?directConnection=true`);
try {
  admin.adminCommand({ replSetGetStatus: 1 });
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  const members = hosts.map((host, index) => ({ _id: index, host, priority: index === 0 ? 2 : 1 }));
  admin.adminCommand({ replSetInitiate: { _id: "ld", members } });
}
const deadline = Date.now() + 120000;
for (;;) {
  const states = admin.adminCommand({ replSetGetStatus: 1 }).members.map((member) => member.stateStr);
  if (states.includes("PRIMARY") && states.every((state) => ["PRIMARY", "SECONDARY"].includes(state))) break;
  if (Date.now() > deadline) throw new Error(`the replica set is not complete after two minutes: ${states}`);
  sleep(500);
}
print("the replica set has a primary");
