# Textos de la pàgina d’estat, en català. Un fitxer per llengua; https://projectfluent.org n’explica el format.
# El programa omple { $nom }: conserveu-ho. Un test diu quins textos falten o sobren en una llengua.

## La pàgina
title = Estat de LD Connect
as_of = Dades del
reload = Actualitza
language = Idioma
filter = Només equips, assignatures i fonts amb
filter_apply = Mostra
filter_clear = Mostra-ho tot
well = Tot va bé: els webhooks s’accepten, es desen i es comuniquen a LD Eval. No cal fer res.
more = { $count ->
    [one] Hi ha un avís més a sota.
   *[other] Hi ha { $count } avisos més a sota.
}
to_do = Què més cal fer
noticed = Per informació
json = El mateix en JSON

## Cues
waiting = Què espera
events = Esdeveniments per desar
notifications = Notificacions per a LD Eval
lookups = Consultes a GitHub i Taiga
dead_letters = No processables
accepted_by_eval = Última notificació acceptada per LD Eval
refused_by_eval = Última fallada de LD Eval
stream = Cua d’esdeveniments

## Equips
teams = Equips i fonts
no_teams = Encara no s’ha acceptat cap webhook, i el fitxer de credencials no llista cap equip.
no_match = Cap equip, assignatura ni font coincideix amb «{ $filter }».
team = Equip
source = Font
accepted = Últim acceptat
refused = Últim rebutjat
hours = Esdeveniments per hora, 24 h
unsigned = sense signatura, fora del fitxer de credencials
unverified_mark = remitent no verificat
never = mai
picture_empty = cap esdeveniment en 24 hores
picture = { $sum } en 24 hores; el màxim, { $most }, en l’hora de les { $hour }
not_counted = { $count ->
    [one] Un esdeveniment encara no és als gràfics. Actualitzeu la pàgina.
   *[other] { $count } esdeveniments encara no són als gràfics. Actualitzeu la pàgina.
}
left_out = { $count ->
    [one] Hi ha una fila més al JSON.
   *[other] Hi ha { $count } files més al JSON.
}
and_more = { $names } i { $count } més

## Lliuraments i esdeveniments no processables
find_delivery = Cerqueu un lliurament pel seu identificador
find = Cerca
deliveries = Lliuraments
deliveries_of = Lliuraments de { $project }
delivery = Lliurament
delivery_id = Identificador del lliurament
event = Esdeveniment
sequence = Número a la cua d’esdeveniments
received_at = Rebut
state = Què se n’ha fet
state_refused = rebutjat
state_received = rebut, encara no desat
state_stored = desat
state_notified = desat, LD Eval avisat
state_enriched = desat, LD Eval avisat, consultat
state_dead = no processable
sent_again = enviat de nou, primer com a { $sequence }
documents = Documents de MongoDB
document = Document de MongoDB
now_it = Ara
now_ours = mostra aquest lliurament
now_other = mostra el lliurament { $delivery }
now_absent = no hi és
now_removed = s’ha eliminat
now_view = ho mostra on hi pertany
now_unknown = no s’ha pogut llegir: MongoDB no ha respost
more_documents = { $count ->
    [one] I un document més.
   *[other] I { $count } documents més.
}
notified_accepted = LD Eval l’ha acceptat
notified_waits = espera
last_accepted = LD Eval ha acceptat l’últim
none = Cap.
headers = Capçaleres
payload_hint = Per al contingut, que té dades personals: worker events show { $sequence } --payload
dead_letter = No processable
letter_payload_hint = Per al contingut, que té dades personals: worker dead-letters show { $id }
given_up_at = Abandonat
why = Motiu
attempts = Intents
what_is_wrong = Què falla
resend = Torna a enviar-lo
resend_hint = L’esdeveniment es torna a processar i LD Eval es torna a avisar. Els documents queden igual.
resent = S’ha tornat a enviar. Recarregueu la pàgina per veure què se’n fa.
redrive = Torna-ho a provar
redrive_hint = Feu-ho quan la causa estigui arreglada. Si torna a fallar, és el mateix no processable amb un intent més.
redriven = S’ha tornat a enviar. Això és el que se’n fa; recarregueu la pàgina.
token_label = El vostre ADMIN_TOKEN
send_off = Tornar a enviar des d’una pàgina està desactivat: poseu ADMIN_TOKEN al worker.
send_cross_site = Aquest formulari no venia d’una pàgina d’aquest worker. No s’ha fet res.
send_wrong_token = Aquest no és l’ADMIN_TOKEN del worker. No s’ha fet res.
send_failed = No se sap si s’ha enviat: { $error }. Repetir-ho no fa cap mal.
only_beginning = Només se’n conserva el principi, i la cua d’esdeveniments ja no té la resta. Que el remitent el torni a enviar.
not_found = No es coneix cap lliurament { $id }. No va arribar mai, o és més antic que la cua d’esdeveniments; dels rebutjats es guarden els últims 20 de cada equip.
not_searched = No s’ha trobat cap lliurament { $id }, i la cua és massa llarga per cercar-la tota aquí: executeu «worker events show { $id }».
letter_gone = No hi ha cap no processable { $id }: s’ha tornat a enviar o s’ha eliminat.

## Tokens
tokens = Tokens per a consultes
course = Assignatura
requests_left = Peticions restants
paused_until = En pausa fins a

## Temps
date_time = { $day }/{ $month }/{ $year } { $clock }
just_now = ara mateix
seconds_ago = fa { $count } s
minutes_ago = fa { $count } min
hours_ago = fa { $count } h
days_ago = { $count ->
    [one] fa { $count } dia
   *[other] fa { $count } dies
}

## Per què s’ha rebutjat un webhook
reason_signature = signatura incorrecta
reason_no_secret = no hi ha cap secret configurat
reason_unsigned = sense signatura, i no hi ha cap secret configurat
reason_query = prj falta o és incorrecte a l’URL
reason_json = no és un objecte JSON
reason_event = falta X-GitHub-Event
reason_too_large = massa gran
reason_encoding = comprimit
reason_framing = delimitació HTTP ambigua
reason_incomplete = va arribar incomplet
reason_overloaded = massa peticions alhora
reason_unavailable = NATS no el va poder desar
reason_bug = un error de LD Connect

## Avisos: què ha passat i què cal fer
nats = Aquest worker no pot fer servir NATS: { $error }.
nats_advice = Engegueu el servidor NATS o corregiu NATS_URL. Fins llavors, els webhooks reben un 503.
mongo = Aquest worker no pot escriure a MongoDB: { $error }.
mongo_advice = Engegueu MongoDB o corregiu MONGO_URI. Els esdeveniments esperen i no se’n perd cap.
collection = La col·lecció { $name } no es pot escriure: { $error }. Només n’esperen els esdeveniments.
not_processed = { $count ->
    [one] Un esdeveniment espera per desar-se; va arribar { $ago }.
   *[other] { $count } esdeveniments esperen per desar-se; el més antic va arribar { $ago }.
}
not_processed_advice = Mireu els registres dels workers i /readyz. Si només van lents, engegueu-ne més.
nearly_full = La cua d’esdeveniments és plena al { $percent } %. Quan s’ompli, els webhooks rebran un 503.
nearly_full_advice = Engegueu workers, o apugeu LD_EVENTS_MAX_BYTES i reinicieu un ingress.
eval_away = LD Eval no accepta notificacions: { $error }. N’esperen { $waiting }.
eval_away_advice = Reviseu LD Eval, EVAL_HOST i EVAL_PORT. Els documents es desen igualment.
dead_letters_kept = { $count ->
    [one] Un esdeveniment no s’ha pogut processar. Es conserva com a no processable.
   *[other] { $count } esdeveniments no s’han pogut processar. Es conserven com a no processables.
}
dead_letters_kept_advice = Executeu «worker dead-letters list», corregiu la causa i executeu «worker dead-letters redrive».
unsigned_dead_letters = { $count ->
    [one] Un full sense signatura d’un projecte desconegut no s’ha pogut processar.
   *[other] { $count } fulls sense signatura de projectes desconeguts no s’han pogut processar.
}
unsigned_dead_letters_advice = Tothom en pot enviar. Per rebutjar-los, definiu EXCEL_SECRET.
credentials_file = El fitxer de credencials no és vàlid: { $error }.
credentials_file_advice = Corregiu-lo. Fins llavors val l’última versió vàlida.
never_heard = { $count ->
    [one] No ha arribat res d’un dels { $total } equips de { $course }, fins on arriba la cua d’esdeveniments: { $teams }.
   *[other] No ha arribat res de { $count } dels { $total } equips de { $course }, fins on arriba la cua d’esdeveniments: { $teams }.
}
source_never_heard = { $count ->
    [one] { $source } no ha enviat res d’un equip de { $course }: { $teams }.
   *[other] { $source } no ha enviat res de { $count } equips de { $course }: { $teams }.
}
never_heard_advice = Comproveu que existeixen els seus webhooks, amb l’adreça i el secret correctes (docs/teachers.md).
stopped = { $count ->
    [one] { $source } d’un equip de { $course } s’ha aturat: { $teams }. L’últim webhook va arribar { $ago }.
   *[other] { $source } de { $count } equips de { $course } s’ha aturat: { $teams }. L’últim webhook va arribar { $ago }.
}
stopped_advice = Mireu els últims enviaments del webhook a la configuració de { $source }.
refused_signed = { $source } de { $teams } va ser rebutjat { $ago }: { $reason }.
refused_signed_advice = Corregiu-ho a l’emissor i torneu-ho a enviar. No se n’ha desat res.
refused_unverified = { $source } de { $teams } va ser rebutjat { $ago }: { $reason }. El remitent no està verificat.
refused_unverified_advice = Si era l’equip, compareu el secret a { $source } amb el nostre. Qualsevol altre també ho pot causar.
unknown_project = { $source } d’un projecte desconegut ({ $project }) va ser rebutjat { $ago }: { $reason }.
unknown_project_advice = Si és un equip vostre, reviseu prj a l’URL i el secret. Qualsevol altre també ho pot causar.
no_project = sense prj

## Reconciliació
compared = Última comparació
compared_counts = { $checked } comprovats, { $repaired } corregits, { $removed } eliminats
reconciliation = La comparació de { $team } amb { $source } { $ago } ha deixat feina per a una persona: { $findings }.
reconciliation_advice = docs/truth.md diu què significa. «worker reconcile --prj { $team }» torna a comparar.
