// Drops LD Connect's unique indexes, so that the Python service can store repetitions again. Documents and other indexes
// stay. Prints what it dropped; harmless to repeat. docs/learning-dashboard.md says when.
const keys = ["sha", "repo_name_issue_id", "repo_name_pr_number", "userstory_id", "task_id", "issue_id", "epic_id", "activity_id"];
const data = db.getSiblingDB("mongo");
for (const { name } of data.getCollectionInfos({ type: "collection", name: /^(github|taiga|excel)_/ })) {
  for (const index of data.getCollection(name).getIndexes()) {
    if (index.unique && keys.includes(index.name)) {
      data.getCollection(name).dropIndex(index.name);
      print(name, index.name);
    }
  }
}
