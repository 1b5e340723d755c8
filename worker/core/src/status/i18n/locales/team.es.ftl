# Textos de la página de comprobación de un equipo, en español. La leen estudiantes y profesores que no saben qué es un webhook.

## La página
page_title = Equipo { $prj }
page_lead = ¿Está vuestro equipo conectado al Learning Dashboard?
page_all = Los tres están conectados.
page_some = { $yes }: conectado. { $no }: todavía no.
page_no_source = Todavía no hay nada conectado. Empezad por cualquiera de los tres.
page_blind = Ahora mismo LD Connect no puede mirarlo. Esperad un minuto; si sigue así, avisad a quien lo lleva.
page_yes = Sí
page_no = No
page_unknown = No se sabe
page_updates = Esta página se actualiza sola. Dejadla abierta mientras probáis.
page_private = Quien tiene este enlace puede ver esta página. No muestra nada de otros equipos.
page_teacher = Enlace del profesor: no lo compartáis.

## Cada fuente
page_came = El último envío llegó { $ago }.
page_tested = La prueba llegó { $ago }. Por tanto, la dirección y el secreto son correctos.
page_try_github = Ahora haced push de un commit.
page_try_taiga = Ahora cambiad una historia de usuario.
page_try_excel = Ahora marcad una fila.
page_nothing = Todavía no ha llegado nada.
page_do_github = En vuestra organización o repositorio, abrid Settings ▸ Webhooks ▸ Add webhook, rellenad lo que hay debajo y elegid los eventos Pushes, Issues, Pull requests y Repositories.
page_do_taiga = En vuestro proyecto de Taiga, abrid Configuración ▸ Integraciones ▸ Webhooks ▸ Añadir un nuevo webhook, rellenad lo que hay debajo, guardadlo y pulsad la flecha que lo prueba.
page_do_excel = En la hoja de cálculo del equipo, abrid el menú LD Connect ▸ Configuración…, responded con lo que hay debajo y marcad una fila.
page_stored = Lo último guardado: { $what }, { $ago }.

## Qué hay que pegar
page_paste = Qué hay que pegar
page_name = Nombre
page_url = Payload URL
page_url_taiga = URL
page_content_type = Content type
page_address = Dirección
page_model = Modelo de calidad
page_secret = Secreto
page_secret_taiga = Clave secreta del servicio
page_secret_show = Mostrar el secreto
page_secret_teacher = Lo tiene vuestro profesor.
page_secret_operator = Es el del curso. Lo tiene quien lleva LD Connect.
page_secret_sheet = Vuestro profesor os dirá si hay uno.
page_address_missing = Pedid la dirección a quien lleva LD Connect y ponedla delante de esto.
page_copy = Copiar
page_copied = Copiado

## Rechazos
page_refused = Rechazado { $ago }: { $reason }.
page_refused_times = Rechazado { $times } veces, la última { $ago }: { $reason }.
page_refused_before = Rechazado { $ago }: { $reason }. Desde entonces se ha aceptado.
page_unverified = No se sabe quién lo envió: puede que no sea vuestro.
page_fix_github = Copiad de nuevo el secreto en el campo «Secret» del webhook, sin espacios, y pulsad Update webhook.
page_fix_taiga = Copiad de nuevo el secreto en el campo «Clave secreta del servicio» del webhook, sin espacios, y guardadlo.
page_fix_excel = Copiad de nuevo el secreto en LD Connect ▸ Configuración…, sin espacios, y volved a marcar la fila.
page_fix_no_secret = LD Connect no tiene ningún secreto para esto. Avisad a quien lo lleva.
page_fix_unsigned = La hoja no tiene secreto y vuestro equipo necesita uno: escribidlo en LD Connect ▸ Configuración… y volved a marcar la fila.
page_fix_query = La dirección no está completa: pegad la de debajo hasta el final.
page_fix_json = Esto no lo envió el proveedor. Configurad el webhook como se indica debajo.
page_fix_too_large = Era demasiado grande. Enviad menos cada vez.
page_fix_later = LD Connect no pudo recibirlo en ese momento. Pulsad Redeliver (Resend); la hoja lo intenta de nuevo sola.

## Envíos
page_deliveries = Los últimos envíos
page_no_delivery = Todavía ninguno. Lo que enviéis aparece aquí en pocos segundos.
page_when = Cuándo
page_what = Qué
page_became = Qué fue de ello
event_push = Push (commits)
event_issues = Incidencia
event_pull_request = Petición de integración
event_repository = Repositorio
event_issue = Petición
event_task = Tarea
event_userstory = Historia de usuario
event_relateduserstory = Historia de una épica
event_epic = Épica
event_milestone = Sprint de Taiga
event_sheets_activity = Fila
became_notified = Guardado, y el panel ya lo sabe.
became_to_notify = Guardado. Se avisará al panel.
became_not_notified = Guardado, pero el panel rechazó el aviso. Avisad a quien lleva LD Connect.
became_stored = Guardado.
became_nothing = No había nada que guardar.
became_processing = Guardándose…
became_waiting = Recibido. Espera a guardarse.
became_dead = No se ha guardado: { $reason }
dead_unreadable = no parece lo que envía su fuente. Avisad a quien lleva LD Connect.
dead_no_identity = le falta un identificador. Avisad a quien lleva LD Connect.
dead_unknown_event = de este tipo no se guarda nada.
dead_unstorable = la base de datos no lo acepta. Avisad a quien lleva LD Connect.
dead_bug = un error de LD Connect. Avisad a quien lo lleva.
dead_too_many_projects = demasiados equipos nuevos a la vez. Se guardará solo más tarde.
doc_commit = commit { $name }
doc_commits = { $count } commits
doc_issue = incidencia { $name }
doc_issues = { $count } incidencias
doc_pull_request = petición de integración { $name }
doc_pull_requests = { $count } peticiones de integración
doc_userstory = historia de usuario { $name }
doc_userstories = { $count } historias de usuario
doc_task = tarea { $name }
doc_tasks = { $count } tareas
doc_epic = épica { $name }
doc_epics = { $count } épicas
doc_row = una fila de horas
doc_removed = { $what } eliminado
