//! What the page says, in its three languages. A sentence says what is, the next what to do.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use shared::source::Source;

use super::language::Language::{self, Ca, En, Es};
use super::model::Finding;

/// Where the readers are.
static MADRID: TimeZone = jiff::tz::get!("Europe/Madrid");

/// The words that stand alone.
#[derive(Debug)]
pub struct Labels {
    /// The page's heading.
    pub title: &'static str,
    /// Before the time it shows.
    pub as_of: &'static str,
    /// The link that loads it again.
    pub again: &'static str,
    /// Of the links to other languages.
    pub language: &'static str,
    /// When nothing is to be done.
    pub well: &'static str,
    /// Heading of the findings after the first, which is the sentence at the top.
    pub to_do: &'static str,
    /// Heading of what is no reason to do anything.
    pub noticed: &'static str,
    /// Heading of the table of teams.
    pub teams: &'static str,
    /// Of a table without rows.
    pub no_teams: &'static str,
    /// Column.
    pub team: &'static str,
    /// Column.
    pub source: &'static str,
    /// Column.
    pub accepted: &'static str,
    /// Column.
    pub refused: &'static str,
    /// Column.
    pub hours: &'static str,
    /// Column, and a queue.
    pub dead: &'static str,
    /// In place of a team's name.
    pub nobody: &'static str,
    /// In place of a time.
    pub never: &'static str,
    /// Heading of the queues.
    pub waits: &'static str,
    /// A queue.
    pub events: &'static str,
    /// A queue.
    pub notifications: &'static str,
    /// A queue.
    pub lookups: &'static str,
    /// Before the last notification.
    pub told: &'static str,
    /// Before the last one that was not taken.
    pub untold: &'static str,
    /// Before the size of the event stream.
    pub stream: &'static str,
    /// Heading of the tokens.
    pub tokens: &'static str,
    /// Column.
    pub course: &'static str,
    /// Column.
    pub left: &'static str,
    /// Column.
    pub rests: &'static str,
    /// The link to the other form.
    pub json: &'static str,
}

impl Language {
    /// Its words.
    #[must_use]
    pub const fn labels(self) -> &'static Labels {
        match self {
            En => &ENGLISH,
            Ca => &CATALAN,
            Es => &SPANISH,
        }
    }

    const fn pick<T: Copy>(self, english: T, catalan: T, spanish: T) -> T {
        match self {
            En => english,
            Ca => catalan,
            Es => spanish,
        }
    }
}

const ENGLISH: Labels = Labels {
    title: "Status of LD Connect",
    as_of: "As of",
    again: "Look again",
    language: "Language",
    well: "All is well: what is sent is taken in, stored and passed on. Nothing to do.",
    to_do: "What else to do",
    noticed: "Noticed, nothing to do",
    teams: "Teams and sources",
    no_teams: "No team has sent anything yet, and the teachers’ file lists none.",
    team: "Team",
    source: "Source",
    accepted: "Last accepted",
    refused: "Last refused",
    hours: "Events per hour, 24\u{a0}h",
    dead: "Dead letters",
    nobody: "not a known team",
    never: "never",
    waits: "What waits",
    events: "Events to be stored",
    notifications: "Notifications for LD Eval",
    lookups: "Look-ups at GitHub and Taiga",
    told: "LD Eval was last told",
    untold: "LD Eval last failed",
    stream: "Event stream",
    tokens: "Tokens for look-ups",
    course: "Course",
    left: "Requests left",
    rests: "Rests until",
    json: "The same as JSON",
};

const CATALAN: Labels = Labels {
    title: "Estat de LD Connect",
    as_of: "Dades del",
    again: "Actualitza",
    language: "Idioma",
    well: "Tot va bé: el que s’envia es rep, es desa i es comunica. No cal fer res.",
    to_do: "Què més cal fer",
    noticed: "Per saber, no cal fer res",
    teams: "Equips i fonts",
    no_teams: "Encara no ha enviat res cap equip, i el fitxer del professorat no en llista cap.",
    team: "Equip",
    source: "Font",
    accepted: "Últim acceptat",
    refused: "Últim rebutjat",
    hours: "Esdeveniments per hora, 24\u{a0}h",
    dead: "No processables",
    nobody: "no és cap equip conegut",
    never: "mai",
    waits: "Què espera",
    events: "Esdeveniments per desar",
    notifications: "Avisos per a LD Eval",
    lookups: "Consultes a GitHub i Taiga",
    told: "Últim avís acceptat per LD Eval",
    untold: "Última fallada de LD Eval",
    stream: "Cua d’esdeveniments",
    tokens: "Tokens per a consultes",
    course: "Assignatura",
    left: "Peticions restants",
    rests: "En pausa fins a",
    json: "El mateix en JSON",
};

const SPANISH: Labels = Labels {
    title: "Estado de LD Connect",
    as_of: "Datos del",
    again: "Actualizar",
    language: "Idioma",
    well: "Todo va bien: lo que se envía se recibe, se guarda y se comunica. No hay que hacer nada.",
    to_do: "Qué más hay que hacer",
    noticed: "Para saber, no hay que hacer nada",
    teams: "Equipos y fuentes",
    no_teams: "Todavía no ha enviado nada ningún equipo, y el fichero del profesorado no lista ninguno.",
    team: "Equipo",
    source: "Fuente",
    accepted: "Último aceptado",
    refused: "Último rechazado",
    hours: "Eventos por hora, 24\u{a0}h",
    dead: "No procesables",
    nobody: "no es ningún equipo conocido",
    never: "nunca",
    waits: "Qué espera",
    events: "Eventos por guardar",
    notifications: "Avisos para LD Eval",
    lookups: "Consultas a GitHub y Taiga",
    told: "Último aviso aceptado por LD Eval",
    untold: "Último fallo de LD Eval",
    stream: "Cola de eventos",
    tokens: "Tokens para consultas",
    course: "Asignatura",
    left: "Peticiones restantes",
    rests: "En pausa hasta",
    json: "Lo mismo en JSON",
};

/// What people call a source.
#[must_use]
pub const fn source(source: Source) -> &'static str {
    match source {
        Source::Github => "GitHub",
        Source::Taiga => "Taiga",
        Source::Excel => "Google Sheets",
    }
}

/// `24/11/2026, 18:05` in Madrid; ISO order in English, where the other would be ambiguous.
#[must_use]
pub fn time(language: Language, ms: i64) -> String {
    let local = MADRID.to_datetime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH));
    let (year, month, day) = (local.year(), local.month(), local.day());
    let clock = format!("{:02}:{:02}", local.hour(), local.minute());
    match language {
        En => format!("{year}-{month:02}-{day:02} {clock}"),
        Ca | Es => format!("{day}/{month}/{year} {clock}"),
    }
}

/// `18:05`, the hour in Madrid, for pictures.
#[must_use]
pub fn hour(ms: i64) -> String {
    let local = MADRID.to_datetime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH));
    format!("{:02}:{:02}", local.hour(), local.minute())
}

/// How long ago, in one unit.
#[must_use]
pub fn ago(language: Language, now: i64, then: i64) -> String {
    let seconds = (now - then).max(0) / 1000;
    if seconds < 5 {
        return language.pick("just now", "ara mateix", "ahora mismo").to_owned();
    }
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, language.pick("days", "dies", "días")),
    };
    match language {
        En => format!("{count} {unit} ago"),
        Ca => format!("fa {count} {unit}"),
        Es => format!("hace {count} {unit}"),
    }
}

/// Why a webhook was refused, for a person.
#[must_use]
pub fn reason(language: Language, word: &str) -> String {
    let (english, catalan, spanish) = match word {
        "signature" => ("wrong signature", "signatura incorrecta", "firma incorrecta"),
        "no_secret" => {
            ("no secret is configured", "no hi ha cap secret configurat", "no hay ningún secreto configurado")
        }
        "query" => (
            "prj is missing or wrong in the URL",
            "prj falta o és incorrecte a l’URL",
            "prj falta o es incorrecto en la URL",
        ),
        "json" => ("not one JSON object", "no és un objecte JSON", "no es un objeto JSON"),
        "event" => ("X-GitHub-Event is missing", "falta X-GitHub-Event", "falta X-GitHub-Event"),
        "too_large" => ("over 25 MiB", "més de 25 MiB", "más de 25 MiB"),
        "encoding" => ("compressed", "comprimit", "comprimido"),
        "slow" | "broken" => ("arrived incomplete", "va arribar incomplet", "llegó incompleto"),
        "crowded" => ("too many at once", "massa alhora", "demasiados a la vez"),
        "unavailable" => ("NATS could not store it", "NATS no el va poder desar", "NATS no lo pudo guardar"),
        "panic" => ("a bug of ours", "un error nostre", "un error nuestro"),
        other => return other.to_owned(),
    };
    language.pick(english, catalan, spanish).to_owned()
}

/// What is the matter, and what to do.
#[must_use]
pub fn finding(language: Language, now: i64, finding: &Finding) -> (String, String) {
    let since = |ms| ago(language, now, ms);
    match finding {
        Finding::Nats { error } => (
            match language {
                En => format!("This worker cannot reach NATS: {error}."),
                Ca => format!("Aquest worker no arriba a NATS: {error}."),
                Es => format!("Este worker no llega a NATS: {error}."),
            },
            language
                .pick(
                    "Start the NATS server or mend NATS_URL. Meanwhile webhooks are answered 503.",
                    "Engegueu el servidor NATS o corregiu NATS_URL. Mentrestant, els webhooks reben un 503.",
                    "Arranque el servidor NATS o corrija NATS_URL. Mientras tanto, los webhooks reciben un 503.",
                )
                .to_owned(),
        ),
        Finding::Mongo { error } => (
            match language {
                En => format!("This worker cannot write to MongoDB: {error}."),
                Ca => format!("Aquest worker no pot escriure a MongoDB: {error}."),
                Es => format!("Este worker no puede escribir en MongoDB: {error}."),
            },
            language
                .pick(
                    "Start MongoDB or mend MONGO_URI. Events wait and nothing is lost.",
                    "Engegueu MongoDB o corregiu MONGO_URI. Els esdeveniments esperen i no es perd res.",
                    "Arranque MongoDB o corrija MONGO_URI. Los eventos esperan y no se pierde nada.",
                )
                .to_owned(),
        ),
        Finding::Collection { name, error, advice } => (
            match language {
                En => format!("The collection {name} cannot be written: {error}. Only its events wait."),
                Ca => {
                    format!("La col·lecció {name} no es pot escriure: {error}. Només n’esperen els seus esdeveniments.")
                }
                Es => format!("La colección {name} no se puede escribir: {error}. Solo esperan sus eventos."),
            },
            advice.clone(),
        ),
        Finding::NotWorkedOff { events, since: at } => (
            match language {
                En => format!("Events are not worked off: {events} wait, the oldest came {}.", since(*at)),
                Ca => format!("Els esdeveniments no es processen: n’esperen {events}, el més antic {}.", since(*at)),
                Es => format!("Los eventos no se procesan: esperan {events}, el más antiguo {}.", since(*at)),
            },
            language
                .pick(
                    "Look at the workers’ logs and /readyz; start more workers if they are only slow.",
                    "Mireu els registres dels workers i /readyz; engegueu-ne més si només van lents.",
                    "Mire los registros de los workers y /readyz; arranque más si solo van lentos.",
                )
                .to_owned(),
        ),
        Finding::NearlyFull { percent } => (
            match language {
                En => format!("The event stream is {percent} % full; when it is full, webhooks are answered 503."),
                Ca => {
                    format!("La cua d’esdeveniments és plena al {percent} %; quan s’ompli, els webhooks rebran un 503.")
                }
                Es => format!(
                    "La cola de eventos está llena al {percent} %; cuando se llene, los webhooks recibirán un 503."
                ),
            },
            language
                .pick(
                    "Start workers, or raise LD_EVENTS_MAX_BYTES and restart an ingress.",
                    "Engegueu workers, o apugeu LD_EVENTS_MAX_BYTES i reinicieu un ingress.",
                    "Arranque workers, o suba LD_EVENTS_MAX_BYTES y reinicie un ingress.",
                )
                .to_owned(),
        ),
        Finding::EvalAway { waiting, error } => (
            match language {
                En => format!("LD Eval does not take notifications: {error}. {waiting} wait."),
                Ca => format!("LD Eval no accepta avisos: {error}. N’esperen {waiting}."),
                Es => format!("LD Eval no acepta avisos: {error}. Esperan {waiting}."),
            },
            language
                .pick(
                    "Look at LD Eval, EVAL_HOST and EVAL_PORT. Documents are written all the same.",
                    "Reviseu LD Eval, EVAL_HOST i EVAL_PORT. Els documents es desen igualment.",
                    "Revise LD Eval, EVAL_HOST y EVAL_PORT. Los documentos se guardan igualmente.",
                )
                .to_owned(),
        ),
        Finding::DeadLetters { letters } => (
            match language {
                En if *letters == 1 => "1 event could not be processed; it is kept.".to_owned(),
                En => format!("{letters} events could not be processed; they are kept."),
                Ca if *letters == 1 => "1 esdeveniment no s’ha pogut processar; es conserva.".to_owned(),
                Ca => format!("{letters} esdeveniments no s’han pogut processar; es conserven."),
                Es if *letters == 1 => "1 evento no se ha podido procesar; se conserva.".to_owned(),
                Es => format!("{letters} eventos no se han podido procesar; se conservan."),
            },
            language
                .pick(
                    "Run “worker dead-letters list”, mend the cause, then “worker dead-letters redrive”.",
                    "Executeu «worker dead-letters list», corregiu la causa i després «worker dead-letters redrive».",
                    "Ejecute «worker dead-letters list», corrija la causa y después «worker dead-letters redrive».",
                )
                .to_owned(),
        ),
        Finding::TeachersFile { error } => (
            match language {
                En => format!("The teachers’ file is broken: {error}."),
                Ca => format!("El fitxer del professorat és incorrecte: {error}."),
                Es => format!("El fichero del profesorado es incorrecto: {error}."),
            },
            language
                .pick(
                    "Mend it; the last good one stays in force until then.",
                    "Corregiu-lo; fins llavors val l’últim que era correcte.",
                    "Corríjalo; hasta entonces vale el último que era correcto.",
                )
                .to_owned(),
        ),
        Finding::Signature { prj, source: from, at } => {
            let (from, when) = (source(*from), since(*at));
            (
                match language {
                    En => format!("{from} of team {prj} was refused {when}: its secret is not ours."),
                    Ca => format!("{from} de l’equip {prj} va ser rebutjat {when}: el seu secret no és el nostre."),
                    Es => format!("{from} del equipo {prj} fue rechazado {when}: su secreto no es el nuestro."),
                },
                match language {
                    En => format!("Put our secret into the webhook’s settings at {from}, then send one again."),
                    Ca => format!(
                        "Poseu el nostre secret a la configuració del webhook de {from} i torneu a enviar-ne un."
                    ),
                    Es => format!(
                        "Ponga nuestro secreto en la configuración del webhook de {from} y vuelva a enviar uno."
                    ),
                },
            )
        }
        Finding::Refused { prj, source: from, reason: word, at } => {
            let (from, when, why) = (source(*from), since(*at), reason(language, word));
            (
                match language {
                    En => format!("{from} of team {prj} was refused {when}: {why}."),
                    Ca => format!("{from} de l’equip {prj} va ser rebutjat {when}: {why}."),
                    Es => format!("{from} del equipo {prj} fue rechazado {when}: {why}."),
                },
                language
                    .pick(
                        "Mend it at the sender and send it again; nothing of it was stored.",
                        "Corregiu-ho a l’emissor i torneu-ho a enviar; no se n’ha desat res.",
                        "Corríjalo en el emisor y vuelva a enviarlo; no se ha guardado nada.",
                    )
                    .to_owned(),
            )
        }
        Finding::Stranger { prj, source: from, reason: word, at } => {
            let (from, when, why) = (source(*from), since(*at), reason(language, word));
            let who = prj.as_deref().map_or(String::new(), |prj| match language {
                En => format!(" “{prj}”"),
                Ca | Es => format!(" «{prj}»"),
            });
            (
                match language {
                    En => format!("A webhook of {from} for an unknown project{who} was refused {when}: {why}."),
                    Ca => {
                        format!("Un webhook de {from} per a un projecte desconegut{who} va ser rebutjat {when}: {why}.")
                    }
                    Es => {
                        format!("Un webhook de {from} para un proyecto desconocido{who} fue rechazado {when}: {why}.")
                    }
                },
                language
                    .pick(
                        "If it is a team of yours, compare its secret with ours; else it is noise.",
                        "Si és un equip vostre, compareu el seu secret amb el nostre; si no, és soroll.",
                        "Si es un equipo suyo, compare su secreto con el nuestro; si no, es ruido.",
                    )
                    .to_owned(),
            )
        }
    }
}

/// How many other things there are.
#[must_use]
pub fn more(language: Language, count: usize) -> String {
    match (language, count) {
        (En, 1) => "One more thing is below.".to_owned(),
        (En, _) => format!("{count} more things are below."),
        (Ca, 1) => "Hi ha una cosa més a sota.".to_owned(),
        (Ca, _) => format!("Hi ha {count} coses més a sota."),
        (Es, 1) => "Hay una cosa más abajo.".to_owned(),
        (Es, _) => format!("Hay {count} cosas más abajo."),
    }
}

/// The picture in words.
#[must_use]
pub fn picture(language: Language, sum: u64, most: u32, at: i64) -> String {
    let hour = hour(at);
    match language {
        En if sum == 0 => "no events in 24 hours".to_owned(),
        Ca if sum == 0 => "cap esdeveniment en 24 hores".to_owned(),
        Es if sum == 0 => "ningún evento en 24 horas".to_owned(),
        En => format!("{sum} in 24 hours; most, {most}, in the hour from {hour}"),
        Ca => format!("{sum} en 24 hores; el màxim, {most}, en l’hora de les {hour}"),
        Es => format!("{sum} en 24 horas; el máximo, {most}, en la hora de las {hour}"),
    }
}

/// That pictures are not complete yet.
#[must_use]
pub fn behind(language: Language, events: u64) -> String {
    match language {
        En => format!("{events} events are not in the pictures yet; look again."),
        Ca => format!("{events} esdeveniments encara no són als gràfics; actualitzeu."),
        Es => format!("{events} eventos todavía no están en los gráficos; actualice."),
    }
}

/// That not all rows are shown.
#[must_use]
pub fn left_out(language: Language, rows: usize) -> String {
    match language {
        En => format!("{rows} more rows are in the JSON."),
        Ca => format!("Hi ha {rows} files més al JSON."),
        Es => format!("Hay {rows} filas más en el JSON."),
    }
}
