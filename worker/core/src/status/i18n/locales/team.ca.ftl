# Textos de la pàgina de comprovació d’un equip, en català. La llegeixen estudiants i professors que no saben què és un webhook.

## La pàgina
page_title = Equip { $prj }
page_lead = El vostre equip està connectat al Learning Dashboard?
page_all = Tots tres estan connectats.
page_some = { $yes }: connectat. { $no }: encara no.
page_no_source = Encara no hi ha res connectat. Comenceu per qualsevol dels tres.
page_blind = Ara mateix LD Connect no ho pot mirar. Espereu un minut; si continua així, aviseu qui el porta.
page_yes = Sí
page_no = No
page_unknown = No se sap
page_updates = Aquesta pàgina s’actualitza sola. Deixeu-la oberta mentre ho proveu.
page_private = Qui té aquest enllaç pot veure aquesta pàgina. No mostra res d’altres equips.
page_teacher = Enllaç del professor: no el compartiu.

## Cada font
page_came = L’últim enviament ha arribat { $ago }.
page_tested = La prova ha arribat { $ago }. Per tant, l’adreça i el secret són correctes.
page_try_github = Ara feu un push d’un commit.
page_try_taiga = Ara canvieu una història d’usuari.
page_try_excel = Ara marqueu una fila.
page_nothing = Encara no ha arribat res.
page_do_github = A la vostra organització o repositori, obriu Settings ▸ Webhooks ▸ Add webhook, ompliu-hi el que hi ha a sota i trieu els esdeveniments Pushes, Issues, Pull requests i Repositories.
page_do_taiga = Al vostre projecte de Taiga, obriu Configuració ▸ Integracions ▸ Webhooks ▸ Afegir un nou webhook, ompliu-hi el que hi ha a sota, deseu-lo i premeu la fletxa que el prova.
page_do_excel = Al full de càlcul de l’equip, obriu el menú LD Connect ▸ Configuració…, responeu amb el que hi ha a sota i marqueu una fila.
page_stored = L’últim que s’ha desat: { $what }, { $ago }.

## Què cal enganxar
page_paste = Què cal enganxar
page_name = Nom
page_url = Payload URL
page_url_taiga = URL
page_content_type = Content type
page_address = Adreça
page_model = Model de qualitat
page_secret = Secret
page_secret_taiga = Clau secreta del servei
page_secret_show = Mostra el secret
page_secret_teacher = El té el vostre professor.
page_secret_operator = És el del curs. El té qui porta LD Connect.
page_secret_sheet = El vostre professor us dirà si n’hi ha.
page_address_missing = Demaneu l’adreça a qui porta LD Connect i poseu-la davant d’això.
page_copy = Copia
page_copied = Copiat

## Rebuigs
page_refused = Rebutjat { $ago }: { $reason }.
page_refused_times = Rebutjat { $times } vegades, l’última { $ago }: { $reason }.
page_refused_before = Rebutjat { $ago }: { $reason }. Des de llavors s’ha acceptat.
page_unverified = No se sap qui ho ha enviat: potser no és vostre.
page_fix_github = Torneu a copiar el secret al camp «Secret» del webhook, sense espais, i premeu Update webhook.
page_fix_taiga = Torneu a copiar el secret al camp «Clau secreta del servei» del webhook, sense espais, i deseu-lo.
page_fix_excel = Torneu a copiar el secret a LD Connect ▸ Configuració…, sense espais, i torneu a marcar la fila.
page_fix_no_secret = LD Connect no té cap secret per a això. Aviseu qui el porta.
page_fix_unsigned = El full no té secret i el vostre equip en necessita un: escriviu-lo a LD Connect ▸ Configuració… i torneu a marcar la fila.
page_fix_query = L’adreça no és completa: enganxeu la de sota fins al final.
page_fix_json = Això no ho ha enviat el proveïdor. Configureu el webhook com s’indica a sota.
page_fix_too_large = Era massa gran. Envieu menys cada vegada.
page_fix_later = LD Connect no ho ha pogut rebre en aquell moment. Premeu Redeliver (Resend); el full ho torna a provar sol.

## Enviaments
page_deliveries = Els últims enviaments
page_no_delivery = Encara cap. El que envieu apareix aquí en pocs segons.
page_when = Quan
page_what = Què
page_became = Què se n’ha fet
event_push = Push (commits)
event_issues = Incidència
event_pull_request = Petició d’integració
event_repository = Repositori
event_issue = Petició
event_task = Tasca
event_userstory = Història d’usuari
event_relateduserstory = Història d’una èpica
event_epic = Èpica
event_milestone = Esprint
event_sheets_activity = Fila
became_notified = Desat, i el tauler ja ho sap.
became_to_notify = Desat. S’avisarà el tauler.
became_not_notified = Desat, però el tauler ha rebutjat l’avís. Aviseu qui porta LD Connect.
became_stored = Desat.
became_nothing = No hi havia res per desar.
became_processing = S’està desant…
became_waiting = Rebut. Espera que es desi.
became_dead = No s’ha desat: { $reason }
dead_unreadable = no sembla el que envia la seva font. Aviseu qui porta LD Connect.
dead_no_identity = li falta un identificador. Aviseu qui porta LD Connect.
dead_unknown_event = d’aquest tipus no es desa res.
dead_unstorable = la base de dades no ho accepta. Aviseu qui porta LD Connect.
dead_bug = un error de LD Connect. Aviseu qui el porta.
dead_too_many_projects = massa equips nous alhora. Es desarà sol més tard.
doc_commit = commit { $name }
doc_commits = { $count } commits
doc_issue = incidència { $name }
doc_issues = { $count } incidències
doc_pull_request = petició d’integració { $name }
doc_pull_requests = { $count } peticions d’integració
doc_userstory = història d’usuari { $name }
doc_userstories = { $count } històries d’usuari
doc_task = tasca { $name }
doc_tasks = { $count } tasques
doc_epic = èpica { $name }
doc_epics = { $count } èpiques
doc_row = una fila d’hores
doc_removed = { $what } suprimit
