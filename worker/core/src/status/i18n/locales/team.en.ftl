# Texts of a team's check page, in English. It is read by students and teachers who know nothing of webhooks.

## The page
page_title = Team { $prj }
page_lead = Is your team connected to the Learning Dashboard?
page_all = All three are connected.
page_some = { $yes }: connected. { $no }: not yet.
page_no_source = Nothing is connected yet. Begin with any of the three.
page_blind = LD Connect cannot look at this moment. Wait a minute; if it stays so, tell whoever runs it.
page_yes = Yes
page_no = No
page_unknown = Not known
page_updates = This page updates by itself. Leave it open while you try.
page_private = Whoever has this link can see this page. It shows nothing of other teams.
page_teacher = Teacher’s link: keep it to yourself.

## Each source
page_came = The last delivery came { $ago }.
page_tested = Its test came { $ago }. So address and secret are right.
page_try_github = Now push a commit.
page_try_taiga = Now change a user story.
page_try_excel = Now tick a row.
page_nothing = Nothing has come yet.
page_do_github = In your organisation or repository, open Settings ▸ Webhooks ▸ Add webhook, fill in what is below, and choose the events Pushes, Issues, Pull requests and Repositories.
page_do_taiga = In your Taiga project, open Settings ▸ Integrations ▸ Webhooks ▸ Add a new webhook, fill in what is below, save, and press the arrow that tests it.
page_do_excel = In your team’s spreadsheet, open the menu LD Connect ▸ Settings…, answer with what is below, and tick a row.
page_stored = Last stored: { $what }, { $ago }.

## What to paste
page_paste = What to paste
page_name = Name
page_url = Payload URL
page_url_taiga = URL
page_content_type = Content type
page_address = Address
page_model = Quality model
page_secret = Secret
page_secret_taiga = Service secret key
page_secret_show = Show the secret
page_secret_teacher = Your teacher has it.
page_secret_operator = It is the course’s. Whoever runs LD Connect has it.
page_secret_sheet = Your teacher says if there is one.
page_address_missing = Ask whoever runs LD Connect for its address, and put it before this.
page_copy = Copy
page_copied = Copied

## Refusals
page_refused = Refused { $ago }: { $reason }.
page_refused_times = Refused { $times } times, the last { $ago }: { $reason }.
page_refused_before = Refused { $ago }: { $reason }. Accepted since.
page_unverified = Its sender is not known: it may not be yours.
page_fix_github = Copy the secret again into the field “Secret” of the webhook, without blanks, and press Update webhook.
page_fix_taiga = Copy the secret again into the field “Service secret key” of the webhook, without blanks, and save.
page_fix_excel = Copy the secret again under LD Connect ▸ Settings…, without blanks, and tick the row again.
page_fix_no_secret = LD Connect has no secret for this. Tell whoever runs it.
page_fix_unsigned = The sheet has no secret, and your team needs one: write it under LD Connect ▸ Settings…, and tick the row again.
page_fix_query = The address is not complete: paste the one below, to its end.
page_fix_json = Something else than the provider sent this. Set up the webhook as below.
page_fix_too_large = It was too large to take. Send less at a time.
page_fix_later = LD Connect could not take it at that moment. Press Redeliver (Resend); the sheet tries again by itself.

## Deliveries
page_deliveries = The last deliveries
page_no_delivery = None yet. What you send appears here within seconds.
page_when = When
page_what = What
page_became = What became of it
event_push = Push
event_issues = Issue
event_pull_request = Pull request
event_repository = Repository
event_issue = Issue
event_task = Task
event_userstory = User story
event_relateduserstory = Story in an epic
event_epic = Epic
event_milestone = Sprint
event_sheets_activity = Row
became_notified = Stored, and the dashboard knows.
became_to_notify = Stored. The dashboard will be notified.
became_not_notified = Stored, but the dashboard refused the notice. Tell whoever runs LD Connect.
became_stored = Stored.
became_nothing = Nothing in it to store.
became_processing = Being stored …
became_waiting = Received. It waits to be stored.
became_dead = Not stored: { $reason }
dead_unreadable = it does not look like what its source sends. Tell whoever runs LD Connect.
dead_no_identity = it lacks an id. Tell whoever runs LD Connect.
dead_unknown_event = of its kind nothing is stored.
dead_unstorable = the database does not take it. Tell whoever runs LD Connect.
dead_bug = an error of LD Connect. Tell whoever runs it.
dead_too_many_projects = too many new teams at once. It will be stored by itself later.
doc_commit = commit { $name }
doc_commits = { $count } commits
doc_issue = issue { $name }
doc_issues = { $count } issues
doc_pull_request = pull request { $name }
doc_pull_requests = { $count } pull requests
doc_userstory = user story { $name }
doc_userstories = { $count } user stories
doc_task = task { $name }
doc_tasks = { $count } tasks
doc_epic = epic { $name }
doc_epics = { $count } epics
doc_row = a row of hours
doc_removed = { $what } removed
