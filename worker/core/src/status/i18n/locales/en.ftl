# Texts of the status page, in English. One file a language; https://projectfluent.org explains the format.
# { $name } is filled in by the program: keep it. A test says which texts a language lacks or has too many.

## The page
title = Status of LD Connect
as_of = As of
reload = Reload
language = Language
filter = Only teams, courses and sources with
filter_apply = Show
filter_clear = Show all
well = All is well: webhooks are accepted, stored and passed on to LD Eval. There is nothing to do.
more = { $count ->
    [one] One more finding is below.
   *[other] { $count } more findings are below.
}
to_do = What else to do
noticed = For information
json = The same as JSON

## Queues
waiting = What waits
events = Events to be stored
notifications = Notifications for LD Eval
lookups = Look-ups at GitHub and Taiga
dead_letters = Dead letters
accepted_by_eval = LD Eval last accepted
refused_by_eval = LD Eval last failed
stream = Event stream

## Teams
teams = Teams and sources
no_teams = No webhook has been accepted yet, and the credentials file lists no team.
no_match = No team, course or source matches “{ $filter }”.
team = Team
source = Source
accepted = Last accepted
refused = Last refused
hours = Events per hour, 24 h
unsigned = unsigned, not in the credentials file
unverified_mark = sender not verified
never = never
picture_empty = no events in 24 hours
picture = { $sum } in 24 hours; the most, { $most }, in the hour from { $hour }
not_counted = { $count ->
    [one] One event is not in the pictures yet. Reload the page.
   *[other] { $count } events are not in the pictures yet. Reload the page.
}
left_out = { $count ->
    [one] One more row is in the JSON.
   *[other] { $count } more rows are in the JSON.
}
and_more = { $names } and { $count } more

## Deliveries and dead letters
find_delivery = Find a delivery by its id
find = Find
deliveries = Deliveries
deliveries_of = Deliveries of { $project }
delivery = Delivery
delivery_id = Id of the delivery
event = Event
sequence = Number in the stream
received_at = Received
state = What became of it
state_refused = refused
state_received = received, not stored yet
state_stored = stored
state_notified = stored, LD Eval notified
state_enriched = stored, LD Eval notified, looked up
state_dead = dead letter
sent_again = sent again, first as { $sequence }
documents = Documents
document = Document
now_it = Now it
now_ours = shows this delivery
now_other = shows delivery { $delivery }
now_absent = is not there
now_removed = is removed
now_view = shows it where it belongs to it
now_unknown = could not be read: MongoDB did not answer
more_documents = { $count ->
    [one] And one more document.
   *[other] And { $count } more documents.
}
notified_accepted = LD Eval accepted it
notified_waits = waits
last_accepted = LD Eval accepted the last one
none = None.
headers = Headers
payload_hint = For the payload, which has personal data: worker events show { $sequence } --payload
dead_letter = Dead letter
letter_payload_hint = For the payload, which has personal data: worker dead-letters show { $id }
given_up_at = Given up
why = Reason
attempts = Attempts
what_is_wrong = What is wrong
resend = Send it again
resend_hint = The event is processed again and LD Eval is notified again. Documents stay as they are.
resent = It was sent again. Reload the page to see what becomes of it.
redrive = Redrive
redrive_hint = Do this once the cause is fixed. If it fails again, it is the same dead letter with one attempt more.
redriven = It was sent again. This is what becomes of it; reload the page.
token_label = Your ADMIN_TOKEN
send_off = Sending again from a page is off: set ADMIN_TOKEN for the worker.
send_cross_site = This form did not come from a page of this worker. Nothing was done.
send_wrong_token = This is not the worker’s ADMIN_TOKEN. Nothing was done.
send_failed = It is not known to be sent: { $error }. Doing it again is harmless.
only_beginning = The dead letter has only the beginning of its event, and the stream no longer the rest. Let the sender send it again.
not_found = No delivery { $id } is known. It never came, or it is older than the event stream; of refused ones the last 20 of each team are kept.
not_searched = No delivery { $id } was found, and the stream is too long to search all of it here: run “worker events show { $id }”.
letter_gone = There is no dead letter { $id }: it was redriven or purged.

## Tokens
tokens = Tokens for look-ups
course = Course
requests_left = Requests left
paused_until = Paused until

## Times
date_time = { $year }-{ $month }-{ $day } { $clock }
just_now = just now
seconds_ago = { $count } s ago
minutes_ago = { $count } min ago
hours_ago = { $count } h ago
days_ago = { $count ->
    [one] { $count } day ago
   *[other] { $count } days ago
}

## Why a webhook was refused
reason_signature = wrong signature
reason_no_secret = no secret is configured
reason_unsigned = unsigned, and no secret is configured
reason_query = prj is missing or wrong in the URL
reason_json = not one JSON object
reason_event = X-GitHub-Event is missing
reason_too_large = too large
reason_encoding = compressed
reason_framing = ambiguous HTTP framing
reason_incomplete = arrived incomplete
reason_overloaded = too many requests at once
reason_unavailable = NATS could not store it
reason_bug = a bug in LD Connect

## Findings: what happened, and what to do
nats = This worker cannot use NATS: { $error }.
nats_advice = Start the NATS server or fix NATS_URL. Until then webhooks are answered 503.
mongo = This worker cannot write to MongoDB: { $error }.
mongo_advice = Start MongoDB or fix MONGO_URI. Events wait, and none is lost.
collection = The collection { $name } cannot be written: { $error }. Only its events wait.
not_processed = { $count ->
    [one] One event waits to be stored since { $ago }.
   *[other] { $count } events wait to be stored, the oldest came { $ago }.
}
not_processed_advice = Look at the workers’ logs and /readyz. If they are only slow, start more workers.
nearly_full = The event stream is { $percent } % full. When it is full, webhooks are answered 503.
nearly_full_advice = Start workers, or raise LD_EVENTS_MAX_BYTES and restart an ingress.
eval_away = LD Eval does not accept notifications: { $error }. Waiting: { $waiting }.
eval_away_advice = Check LD Eval, EVAL_HOST and EVAL_PORT. Documents are stored all the same.
dead_letters_kept = { $count ->
    [one] One event could not be processed. It is kept as a dead letter.
   *[other] { $count } events could not be processed. They are kept as dead letters.
}
dead_letters_kept_advice = Run “worker dead-letters list”, fix the cause, then run “worker dead-letters redrive”.
unsigned_dead_letters = { $count ->
    [one] One unsigned sheet of an unknown project could not be processed.
   *[other] { $count } unsigned sheets of unknown projects could not be processed.
}
unsigned_dead_letters_advice = Anyone can send them. To refuse them, set EXCEL_SECRET.
credentials_file = The credentials file is not valid: { $error }.
credentials_file_advice = Fix it. Until then the last valid version stays in force.
never_heard = { $count ->
    [one] Nothing has come from one of { $total } teams of { $course }, as far as the event stream goes back: { $teams }.
   *[other] Nothing has come from { $count } of { $total } teams of { $course }, as far as the event stream goes back: { $teams }.
}
source_never_heard = { $count ->
    [one] { $source } has sent nothing of a team of { $course }: { $teams }.
   *[other] { $source } has sent nothing of { $count } teams of { $course }: { $teams }.
}
never_heard_advice = Check that their webhooks exist, with the right address and secret (docs/teachers.md).
stopped = { $count ->
    [one] { $source } of a team of { $course } has stopped: { $teams }. Its last webhook came { $ago }.
   *[other] { $source } of { $count } teams of { $course } has stopped: { $teams }. The last webhook came { $ago }.
}
stopped_advice = Look at the webhook’s last deliveries in the settings at { $source }.
refused_signed = { $source } of { $teams } was refused { $ago }: { $reason }.
refused_signed_advice = Fix it at the sender and send it again. Nothing of it was stored.
refused_unverified = { $source } of { $teams } was refused { $ago }: { $reason }. The sender is not verified.
refused_unverified_advice = If it was the team, compare the secret at { $source } with ours. Anyone else can cause this, too.
unknown_project = { $source } of an unknown project ({ $project }) was refused { $ago }: { $reason }.
unknown_project_advice = If it is one of your teams, check prj in its URL and its secret. Anyone else can cause this, too.
no_project = without prj

## Reconciliation
compared = Last compared
compared_counts = { $checked } checked, { $repaired } repaired, { $removed } removed
reconciliation = Comparing { $team } with { $source } { $ago } left something to a person: { $findings }.
reconciliation_advice = docs/truth.md says what it means. “worker reconcile --prj { $team }” compares again.
