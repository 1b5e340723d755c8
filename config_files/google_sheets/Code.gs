/**
 * LD Connect's add-on for Google Sheets: sends rows of a team's hours sheet to LD Connect. How to install and use it:
 * docs/teachers.md of LD Connect.
 *
 * One row is one delivery. A row is sent when somebody ticks its box, or by the menu; the answer is written beside it.
 * LD Connect takes a row for a new one when any byte of it differs, so what was once tried is kept and tried again
 * exactly as it was, until it is answered; and a row that was sent is not sent again.
 */

/** The sheet with the rows, and the one with what is the same for all of them. Set up by the menu. */
var HOURS = 'Hores';
var CONFIG = 'LD Config';

/** Columns of the sheet with the rows. From MEMBERS on each column is one member, until the first empty heading. */
var COLUMN = { SEND: 1, STATUS: 2, TIMESTAMP: 3, ITERATION: 4, DATE: 5, DURATION: 6, ACTIVITY: 7, COMMENT: 8, EPIC: 9, MEMBERS: 10 };

/** The activities, in the order in which LD Connect reads their hours. */
var ACTIVITIES = ["Reunió d'equip", 'Reunió focal', 'Classe passiva', 'Formació', 'Desenvolupament', 'Gestió de projecte', 'Documentació', 'Presentació'];

/** How often one delivery is tried at once, with pauses of 1, 2 and 4 seconds; then every ten minutes. */
var ATTEMPTS = 4;

/** What users read, by the language of their account. */
var TEXTS = {
  en: {
    setup: 'Set up this spreadsheet', settings: 'Settings…', check: 'Check the connection', sendSelected: 'Send selected rows', sendAll: 'Send all rows not sent yet',
    url: 'Address of LD Connect, such as https://ld.example.edu', prj: 'Project (prj)', model: 'Quality model (may stay empty)', secret: 'Secret (empty if your course has none; a dash removes it)',
    headings: ['Send', 'LD Connect', 'Timestamp', 'Iteration', 'Date', 'Duration (h)', 'Activity', 'Comment', 'Epic'],
    right: 'All is right: LD Connect answers, and takes this secret and project.', wrongSecret: 'LD Connect answers, but the secret is not the one of this project. Compare it in LD Connect ▸ Settings…',
    wrongProject: 'LD Connect answers, but does not take sheets of this project: ',  dead: 'LD Connect does not answer: ', sent: 'Sent ', waits: 'Waits, tried again every 10 minutes: ', refused: 'Refused: ', already: 'was sent before; a sent row is not sent again',
    badSecret: 'the secret is not the one of the course', noSettings: 'First fill in LD Connect ▸ Settings…', summary: ' sent, not sent: ', ready: 'Ready. Write the members\' names in the headings from column J on.'
  },
  ca: {
    setup: 'Prepara aquest full de càlcul', settings: 'Configuració…', check: 'Comprova la connexió', sendSelected: 'Envia les files seleccionades', sendAll: 'Envia totes les files pendents',
    url: 'Adreça de LD Connect, per exemple https://ld.example.edu', prj: 'Projecte (prj)', model: 'Model de qualitat (pot quedar buit)', secret: 'Secret (buit si el curs no en té; un guió l\'esborra)',
    headings: ['Enviar', 'LD Connect', 'Timestamp', 'Iteració', 'Data', 'Durada (h)', 'Activitat', 'Comentari', 'Èpica'],
    right: 'Tot correcte: LD Connect respon i accepta aquest secret i aquest projecte.', wrongSecret: 'LD Connect respon, però el secret no és el d\'aquest projecte. Compareu-lo a LD Connect ▸ Configuració…',
    wrongProject: 'LD Connect respon, però no accepta fulls d\'aquest projecte: ',  dead: 'LD Connect no respon: ', sent: 'Enviada ', waits: 'Pendent, es torna a provar cada 10 minuts: ', refused: 'Rebutjada: ', already: 'ja es va enviar; una fila enviada no es torna a enviar',
    badSecret: 'el secret no és el del curs', noSettings: 'Primer ompliu LD Connect ▸ Configuració…', summary: ' enviades, no enviades: ', ready: 'Llest. Escriviu els noms dels membres a les capçaleres a partir de la columna J.'
  },
  es: {
    setup: 'Preparar esta hoja de cálculo', settings: 'Configuración…', check: 'Comprobar la conexión', sendSelected: 'Enviar las filas seleccionadas', sendAll: 'Enviar todas las filas pendientes',
    url: 'Dirección de LD Connect, por ejemplo https://ld.example.edu', prj: 'Proyecto (prj)', model: 'Modelo de calidad (puede quedar vacío)', secret: 'Secreto (vacío si el curso no tiene; un guion lo borra)',
    headings: ['Enviar', 'LD Connect', 'Timestamp', 'Iteración', 'Fecha', 'Duración (h)', 'Actividad', 'Comentario', 'Épica'],
    right: 'Todo correcto: LD Connect responde y acepta este secreto y este proyecto.', wrongSecret: 'LD Connect responde, pero el secreto no es el de este proyecto. Compárelo en LD Connect ▸ Configuración…',
    wrongProject: 'LD Connect responde, pero no acepta hojas de este proyecto: ',  dead: 'LD Connect no responde: ', sent: 'Enviada ', waits: 'Pendiente, se reintenta cada 10 minutos: ', refused: 'Rechazada: ', already: 'ya se envió; una fila enviada no se envía otra vez',
    badSecret: 'el secreto no es el del curso', noSettings: 'Primero rellene LD Connect ▸ Configuración…', summary: ' enviadas, no enviadas: ', ready: 'Listo. Escriba los nombres de los miembros en las cabeceras a partir de la columna J.'
  }
};

function text(key) {
  var language = String(Session.getActiveUserLocale() || 'en').slice(0, 2);
  return (TEXTS[language] || TEXTS.en)[key];
}

/** The menu. Google calls this whenever the spreadsheet is opened. */
function onOpen() {
  SpreadsheetApp.getUi().createMenu('LD Connect')
    .addItem(text('sendAll'), 'sendAll').addItem(text('sendSelected'), 'sendSelected').addSeparator()
    .addItem(text('check'), 'checkConnection').addItem(text('settings'), 'askSettings').addItem(text('setup'), 'setUp').addToUi();
}

/** Makes the two sheets, where they are missing, and the triggers. Changes nothing that is there. */
function setUp() {
  var book = SpreadsheetApp.getActiveSpreadsheet();
  if (!book.getSheetByName(HOURS)) {
    var hours = book.insertSheet(HOURS);
    hours.getRange(1, 1, 1, text('headings').length).setValues([text('headings')]);
    hours.setFrozenRows(1);
    hours.getRange(2, COLUMN.SEND, 499, 1).insertCheckboxes();
  }
  if (!book.getSheetByName(CONFIG)) {
    // Hours of the whole team by activity: what LD Connect calls configRange.
    var rows = ACTIVITIES.map(function (name, index) {
      return [name, "=SUMIF('" + HOURS + "'!G:G;A" + (index + 1) + ";'" + HOURS + "'!F:F)"];
    });
    book.insertSheet(CONFIG).getRange(1, 1, ACTIVITIES.length, 2).setValues(rows);
  }
  var present = ScriptApp.getProjectTriggers().map(function (trigger) { return trigger.getHandlerFunction(); });
  // A simple onEdit may not talk to other servers; an installed one may.
  if (present.indexOf('onTick') < 0) ScriptApp.newTrigger('onTick').forSpreadsheet(book).onEdit().create();
  if (present.indexOf('retryWaiting') < 0) ScriptApp.newTrigger('retryWaiting').timeBased().everyMinutes(10).create();
  say(text('ready'));
}

/** Asks for address, project, quality model and secret, one after the other; an empty answer keeps what is there. */
function askSettings() {
  var ui = SpreadsheetApp.getUi();
  var store = PropertiesService.getDocumentProperties();
  ['url', 'prj', 'model', 'secret'].forEach(function (key) {
    var now = store.getProperty(key);
    var shown = key === 'secret' ? (now ? '••••' : '') : now || '';
    var answer = ui.prompt('LD Connect', text(key) + (shown ? ' [' + shown + ']' : ''), ui.ButtonSet.OK_CANCEL);
    var value = answer.getResponseText().trim();
    if (answer.getSelectedButton() !== ui.Button.OK || !value) return;
    if (value === '-') store.deleteProperty(key); else store.setProperty(key, key === 'url' ? value.replace(/\/+$/, '') : value);
  });
}

/**
 * Whether LD Connect is there, and takes this secret and project: a signed delivery without a row. LD Connect checks the
 * signature first, then the project, and says last that there is no JSON.
 */
function checkConnection() {
  var config = settings();
  if (!config.url || !config.prj) return say(text('noSettings'));
  var found;
  try {
    var answer = UrlFetchApp.fetch(address(config), request(config, ''));
    found = judge(answer.getResponseCode(), String(read(answer.getContentText()).error || ''));
  } catch (error) {
    found = text('dead') + error.message;
  }
  say(found);
}

/** What the answer to a delivery without a row means. */
function judge(code, error) {
  if (code === 400 && error === 'No JSON received') return text('right');
  if (code === 403 && error === 'Invalid Signature') return text('wrongSecret');
  if ((code === 400 || code === 403) && error) return text('wrongProject') + error;
  return text('dead') + (error || 'HTTP ' + code);
}

/** The installed trigger: somebody edited a cell. Only a ticked box sends. */
function onTick(event) {
  var range = event.range;
  var ticked = range.getSheet().getName() === HOURS && range.getColumn() === COLUMN.SEND && range.getNumColumns() === 1;
  if (!ticked) return;
  var rows = [];
  range.getValues().forEach(function (cells, index) { if (cells[0] === true) rows.push(range.getRow() + index); });
  sendRows(rows);
}

function sendSelected() {
  var range = SpreadsheetApp.getActiveSpreadsheet().getSheetByName(HOURS).getActiveRange();
  var rows = [];
  for (var row = range.getRow(); row < range.getRow() + range.getNumRows(); row++) rows.push(row);
  tell(sendRows(rows));
}

function sendAll() {
  tell(sendRows(rowsNotSent()));
}

/** The trigger every ten minutes: what was tried and not answered yet. */
function retryWaiting() {
  var kept = PropertiesService.getDocumentProperties();
  sendRows(rowsNotSent().filter(function (row) { return kept.getProperty(keyOf(stampOf(row))); }));
}

/** Rows with something in them that LD Connect has not accepted. */
function rowsNotSent() {
  var sheet = SpreadsheetApp.getActiveSpreadsheet().getSheetByName(HOURS);
  var rows = [];
  if (sheet.getLastRow() < 2) return rows;
  sheet.getRange(2, 1, sheet.getLastRow() - 1, COLUMN.EPIC).getValues().forEach(function (cells, index) {
    var filled = cells.slice(COLUMN.ITERATION - 1).some(function (cell) { return cell !== ''; });
    if (filled && !wasSent(cells[COLUMN.STATUS - 1])) rows.push(index + 2);
  });
  return rows;
}

/** Sends rows, one delivery each, and writes the answer beside each. Returns how many were and were not accepted. */
function sendRows(rows) {
  var count = { sent: 0, failed: 0 };
  if (!rows.length) return count;
  var sheet = SpreadsheetApp.getActiveSpreadsheet().getSheetByName(HOURS);
  // Two people may tick the same box, and the trigger may come at the same time.
  var lock = LockService.getDocumentLock();
  lock.waitLock(300000);
  try {
    rows.filter(function (row) { return row > 1; }).forEach(function (row) {
      var status = sheet.getRange(row, COLUMN.STATUS);
      var before = String(status.getValue());
      if (wasSent(before)) {
        if (before.indexOf(text('already')) < 0) status.setValue(before + ' (' + text('already') + ')');
        count.failed++;
        return;
      }
      var answer = deliver(sheet, row);
      status.setValue(answer.status);
      sheet.getRange(row, COLUMN.SEND).setValue(answer.accepted);
      SpreadsheetApp.flush();
      if (answer.accepted) count.sent++; else count.failed++;
    });
  } finally {
    lock.releaseLock();
  }
  return count;
}

/** A status that begins with a tick is that of a row that was accepted, in whatever language. */
function wasSent(status) {
  return String(status).charAt(0) === '✓';
}

/** Sends one row. Its bytes are kept until they are answered, because what is tried again must be the same. */
function deliver(sheet, row) {
  var config = settings();
  if (!config.url || !config.prj) return { accepted: false, status: '✗ ' + text('noSettings') };
  var kept = PropertiesService.getDocumentProperties();
  var stamp = stampOf(row);
  var body = stamp ? kept.getProperty(keyOf(stamp)) : null;
  if (!body) {
    stamp = newStamp();
    // As text: a date cell would be rounded and shown in the spreadsheet's own zone.
    sheet.getRange(row, COLUMN.TIMESTAMP).setNumberFormat('@').setValue(stamp);
    body = JSON.stringify(payload(sheet, row, stamp));
    // A property holds 9 kB; of a longer row only the tries of this minute are the same.
    if (Utilities.newBlob(body).getBytes().length < 9000) kept.setProperty(keyOf(stamp), body);
  }
  var answer = post(config, body);
  if (!answer.later) kept.deleteProperty(keyOf(stamp));
  return answer;
}

/** The row as LD Connect reads it. Ranges stay as getValues() gives them: rows of cells. */
function payload(sheet, row, stamp) {
  var cell = function (column) { return sheet.getRange(row, column).getValue(); };
  var members = memberCount(sheet);
  var config = SpreadsheetApp.getActiveSpreadsheet().getSheetByName(CONFIG);
  return {
    timestamp: stamp,
    iteration: cell(COLUMN.ITERATION),
    date: cell(COLUMN.DATE),
    duration: cell(COLUMN.DURATION),
    activity: cell(COLUMN.ACTIVITY),
    comment: cell(COLUMN.COMMENT),
    epic: cell(COLUMN.EPIC),
    members: members ? sheet.getRange(1, COLUMN.MEMBERS, 1, members).getValues() : [],
    memberHours: members ? sheet.getRange(row, COLUMN.MEMBERS, 1, members).getValues() : [],
    configRange: config ? config.getRange(1, 2, ACTIVITIES.length, 1).getValues() : []
  };
}

/** How many columns with a name stand side by side from MEMBERS on. */
function memberCount(sheet) {
  var last = sheet.getLastColumn();
  if (last < COLUMN.MEMBERS) return 0;
  var names = sheet.getRange(1, COLUMN.MEMBERS, 1, last - COLUMN.MEMBERS + 1).getValues()[0];
  var end = names.findIndex(function (name) { return String(name).trim() === ''; });
  return end < 0 ? names.length : end;
}

/** Posts a body until it is answered for good, or ATTEMPTS times. */
function post(config, body) {
  var problem = '';
  for (var attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) Utilities.sleep(1000 * Math.pow(2, attempt - 1));
    try {
      var response = UrlFetchApp.fetch(address(config), request(config, body));
      var code = response.getResponseCode();
      var said = read(response.getContentText());
      if (code === 200) {
        return { accepted: true, status: '✓ ' + text('sent') + now() + ' · ' + String(said.delivery || said.status || '').slice(0, 8) };
      }
      problem = said.error || 'HTTP ' + code;
      // What will be refused tomorrow too is not tried again.
      if (code < 500 && code !== 408 && code !== 429) {
        return { accepted: false, status: '✗ ' + text('refused') + (code === 403 ? text('badSecret') : problem) };
      }
    } catch (error) {
      problem = error.message;
    }
  }
  return { accepted: false, later: true, status: '… ' + text('waits') + problem };
}

function address(config) {
  return config.url + '/webhook/excel?prj=' + encodeURIComponent(config.prj) + (config.model ? '&quality_model=' + encodeURIComponent(config.model) : '');
}

function request(config, body) {
  var options = { method: 'post', contentType: 'application/json', payload: body, headers: {}, muteHttpExceptions: true };
  if (config.secret) options.headers['X-Sheets-Signature'] = 'sha256=' + hmac(body, config.secret);
  return options;
}

/** The time now where the spreadsheet is. */
function now() {
  return Utilities.formatDate(new Date(), SpreadsheetApp.getActiveSpreadsheet().getSpreadsheetTimeZone(), 'yyyy-MM-dd HH:mm');
}

/** Lower-case hex of HMAC-SHA256 over the text's UTF-8 bytes, which are the bytes that are sent. */
function hmac(body, secret) {
  return Utilities.computeHmacSha256Signature(body, secret, Utilities.Charset.UTF_8).map(function (byte) {
    return ('0' + (byte & 255).toString(16)).slice(-2);
  }).join('');
}

function settings() {
  var store = PropertiesService.getDocumentProperties();
  return { url: store.getProperty('url'), prj: store.getProperty('prj'), model: store.getProperty('model'), secret: store.getProperty('secret') };
}

/** When a row was first tried, as it stands beside it; it finds the bytes that were. */
function stampOf(row) {
  return String(SpreadsheetApp.getActiveSpreadsheet().getSheetByName(HOURS).getRange(row, COLUMN.TIMESTAMP).getValue());
}

/** The time now; never the same twice, so that two rows that say the same are still two. */
function newStamp() {
  lastStamp = Math.max(Date.now(), lastStamp + 1);
  return new Date(lastStamp).toISOString();
}
var lastStamp = 0;

function keyOf(stamp) {
  return 'kept:' + stamp;
}

function read(answer) {
  try { return JSON.parse(answer) || {}; } catch (error) { return {}; }
}

function tell(count) {
  say(count.sent + text('summary') + count.failed);
}

function say(message) {
  SpreadsheetApp.getActiveSpreadsheet().toast(message, 'LD Connect', 10);
}
