# Textos de la página de estado, en español. Un fichero por lengua; https://projectfluent.org explica el formato.
# El programa rellena { $nombre }: consérvelo. Un test dice qué textos faltan o sobran en una lengua.

## La página
title = Estado de LD Connect
as_of = Datos del
reload = Actualizar
language = Idioma
filter = Solo equipos, asignaturas y fuentes con
filter_apply = Mostrar
filter_clear = Mostrar todo
well = Todo va bien: los webhooks se aceptan, se guardan y se comunican a LD Eval. No hay que hacer nada.
more = { $count ->
    [one] Hay un aviso más abajo.
   *[other] Hay { $count } avisos más abajo.
}
to_do = Qué más hay que hacer
noticed = Para información
json = Lo mismo en JSON

## Colas
waiting = Qué espera
events = Eventos por guardar
notifications = Notificaciones para LD Eval
lookups = Consultas a GitHub y Taiga
dead_letters = No procesables
accepted_by_eval = Última notificación aceptada por LD Eval
refused_by_eval = Último fallo de LD Eval
stream = Cola de eventos

## Equipos
teams = Equipos y fuentes
no_teams = Todavía no se ha aceptado ningún webhook, y el fichero de credenciales no lista ningún equipo.
no_match = Ningún equipo, asignatura ni fuente coincide con «{ $filter }».
team = Equipo
source = Fuente
accepted = Último aceptado
refused = Último rechazado
hours = Eventos por hora, 24 h
unsigned = sin firma, fuera del fichero de credenciales
unverified_mark = remitente no verificado
never = nunca
picture_empty = ningún evento en 24 horas
picture = { $sum } en 24 horas; el máximo, { $most }, en la hora de las { $hour }
not_counted = { $count ->
    [one] Un evento todavía no está en los gráficos. Actualice la página.
   *[other] { $count } eventos todavía no están en los gráficos. Actualice la página.
}
left_out = { $count ->
    [one] Hay una fila más en el JSON.
   *[other] Hay { $count } filas más en el JSON.
}
and_more = { $names } y { $count } más

## Entregas y eventos no procesables
find_delivery = Busque una entrega por su identificador
find = Buscar
deliveries = Entregas
deliveries_of = Entregas de { $project }
delivery = Entrega
delivery_id = Identificador de la entrega
event = Evento
sequence = Número en la cola de eventos
received_at = Recibida
state = Qué ha sido de ella
state_refused = rechazada
state_received = recibida, aún no guardada
state_stored = guardada
state_notified = guardada, LD Eval avisado
state_enriched = guardada, LD Eval avisado, consultada
state_dead = no procesable
sent_again = enviada de nuevo, primero como { $sequence }
documents = Documentos
document = Documento
now_it = Ahora
now_ours = muestra esta entrega
now_other = muestra la entrega { $delivery }
now_absent = no está
now_removed = se ha eliminado
now_view = lo muestra donde le pertenece
now_unknown = no se ha podido leer: MongoDB no ha respondido
more_documents = { $count ->
    [one] Y un documento más.
   *[other] Y { $count } documentos más.
}
notified_accepted = LD Eval la ha aceptado
notified_waits = espera
last_accepted = LD Eval aceptó la última
none = Ninguno.
headers = Cabeceras
payload_hint = Para el contenido, que tiene datos personales: worker events show { $sequence } --payload
dead_letter = No procesable
letter_payload_hint = Para el contenido, que tiene datos personales: worker dead-letters show { $id }
given_up_at = Abandonada
why = Motivo
attempts = Intentos
what_is_wrong = Qué falla
resend = Enviarla de nuevo
resend_hint = El evento se procesa de nuevo y se vuelve a avisar a LD Eval. Los documentos quedan igual.
resent = Se ha enviado de nuevo. Recargue la página para ver qué es de ella.
redrive = Volver a probarla
redrive_hint = Hágalo cuando la causa esté arreglada. Si vuelve a fallar, es el mismo no procesable con un intento más.
redriven = Se ha enviado de nuevo. Esto es lo que es de ella; recargue la página.
token_label = Su ADMIN_TOKEN
send_off = Enviar de nuevo desde una página está desactivado: ponga ADMIN_TOKEN en el worker.
send_cross_site = Este formulario no venía de una página de este worker. No se ha hecho nada.
send_wrong_token = Este no es el ADMIN_TOKEN del worker. No se ha hecho nada.
send_failed = No se sabe si se ha enviado: { $error }. Repetirlo no hace ningún daño.
only_beginning = Solo se conserva su principio, y la cola de eventos ya no tiene el resto. Que el remitente lo envíe de nuevo.
not_found = No se conoce ninguna entrega { $id }. Nunca llegó, o es más antigua que la cola de eventos; de las rechazadas se guardan las últimas 20 de cada equipo.
not_searched = No se ha encontrado ninguna entrega { $id }, y la cola es demasiado larga para buscarla toda aquí: ejecute «worker events show { $id }».
letter_gone = No hay ningún no procesable { $id }: se ha enviado de nuevo o se ha eliminado.

## Tokens
tokens = Tokens para consultas
course = Asignatura
requests_left = Peticiones restantes
paused_until = En pausa hasta

## Tiempos
date_time = { $day }/{ $month }/{ $year } { $clock }
just_now = ahora mismo
seconds_ago = hace { $count } s
minutes_ago = hace { $count } min
hours_ago = hace { $count } h
days_ago = { $count ->
    [one] hace { $count } día
   *[other] hace { $count } días
}

## Por qué se ha rechazado un webhook
reason_signature = firma incorrecta
reason_no_secret = no hay ningún secreto configurado
reason_unsigned = sin firma, y no hay ningún secreto configurado
reason_query = prj falta o es incorrecto en la URL
reason_json = no es un objeto JSON
reason_event = falta la cabecera X-GitHub-Event
reason_too_large = demasiado grande
reason_encoding = comprimido
reason_framing = delimitación HTTP ambigua
reason_incomplete = llegó incompleto
reason_overloaded = demasiadas peticiones a la vez
reason_unavailable = NATS no lo pudo guardar
reason_bug = un error de LD Connect

## Avisos: qué ha pasado y qué hay que hacer
nats = Este worker no puede usar NATS: { $error }.
nats_advice = Arranque el servidor NATS o corrija NATS_URL. Hasta entonces, los webhooks reciben un 503.
mongo = Este worker no puede escribir en MongoDB: { $error }.
mongo_advice = Arranque MongoDB o corrija MONGO_URI. Los eventos esperan y no se pierde ninguno.
collection = La colección { $name } no se puede escribir: { $error }. Solo esperan sus eventos.
not_processed = { $count ->
    [one] Un evento espera para guardarse; llegó { $ago }.
   *[other] { $count } eventos esperan para guardarse; el más antiguo llegó { $ago }.
}
not_processed_advice = Mire los registros de los workers y /readyz. Si solo van lentos, arranque más.
nearly_full = La cola de eventos está llena al { $percent } %. Cuando se llene, los webhooks recibirán un 503.
nearly_full_advice = Arranque workers, o suba LD_EVENTS_MAX_BYTES y reinicie un ingress.
eval_away = LD Eval no acepta notificaciones: { $error }. Esperan { $waiting }.
eval_away_advice = Revise LD Eval, EVAL_HOST y EVAL_PORT. Los documentos se guardan igualmente.
dead_letters_kept = { $count ->
    [one] Un evento no se ha podido procesar. Se conserva como no procesable.
   *[other] { $count } eventos no se han podido procesar. Se conservan como no procesables.
}
dead_letters_kept_advice = Ejecute «worker dead-letters list», corrija la causa y ejecute «worker dead-letters redrive».
unsigned_dead_letters = { $count ->
    [one] Una hoja sin firma de un proyecto desconocido no se ha podido procesar.
   *[other] { $count } hojas sin firma de proyectos desconocidos no se han podido procesar.
}
unsigned_dead_letters_advice = Cualquiera puede enviarlas. Para rechazarlas, defina EXCEL_SECRET.
credentials_file = El fichero de credenciales no es válido: { $error }.
credentials_file_advice = Corríjalo. Hasta entonces vale la última versión válida.
never_heard = { $count ->
    [one] No ha llegado nada de uno de los { $total } equipos de { $course }, hasta donde alcanza la cola de eventos: { $teams }.
   *[other] No ha llegado nada de { $count } de los { $total } equipos de { $course }, hasta donde alcanza la cola de eventos: { $teams }.
}
source_never_heard = { $count ->
    [one] { $source } no ha enviado nada de un equipo de { $course }: { $teams }.
   *[other] { $source } no ha enviado nada de { $count } equipos de { $course }: { $teams }.
}
never_heard_advice = Compruebe que existen sus webhooks, con la dirección y el secreto correctos (docs/teachers.md).
stopped = { $count ->
    [one] { $source } de un equipo de { $course } se ha parado: { $teams }. El último webhook llegó { $ago }.
   *[other] { $source } de { $count } equipos de { $course } se ha parado: { $teams }. El último webhook llegó { $ago }.
}
stopped_advice = Mire los últimos envíos del webhook en la configuración de { $source }.
refused_signed = { $source } de { $teams } fue rechazado { $ago }: { $reason }.
refused_signed_advice = Corríjalo en el emisor y vuelva a enviarlo. No se ha guardado nada.
refused_unverified = { $source } de { $teams } fue rechazado { $ago }: { $reason }. El remitente no está verificado.
refused_unverified_advice = Si era el equipo, compare el secreto en { $source } con el nuestro. Cualquier otro también puede causarlo.
unknown_project = { $source } de un proyecto desconocido ({ $project }) fue rechazado { $ago }: { $reason }.
unknown_project_advice = Si es un equipo suyo, revise prj en la URL y el secreto. Cualquier otro también puede causarlo.
no_project = sin prj

## Reconciliación
compared = Última comparación
compared_counts = { $checked } comprobados, { $repaired } corregidos, { $removed } eliminados
reconciliation = La comparación de { $team } con { $source } { $ago } ha dejado trabajo para una persona: { $findings }.
reconciliation_advice = docs/truth.md dice qué significa. «worker reconcile --prj { $team }» vuelve a comparar.
