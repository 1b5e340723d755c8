'use strict';
// Google's services, as far as Code.gs uses them, with the shapes and habits that matter: getValues() is rows of
// cells, bytes are signed, fetch is synchronous and throws when nobody answers, date cells come back as Date.
const crypto = require('node:crypto');
const fs = require('node:fs');
const vm = require('node:vm');
const { spawnSync } = require('node:child_process');

class Sheet {
  constructor(name) { this.name = name; this.cells = new Map(); this.active = null; }
  getName() { return this.name; }
  key(row, column) { return `${row},${column}`; }
  get(row, column) { return this.cells.has(this.key(row, column)) ? this.cells.get(this.key(row, column)) : ''; }
  put(row, column, value) { this.cells.set(this.key(row, column), value); }
  last(part) { return Math.max(0, ...[...this.cells].filter(([, value]) => value !== '').map(([key]) => Number(key.split(',')[part]))); }
  getLastRow() { return this.last(0); }
  getLastColumn() { return this.last(1); }
  setFrozenRows() {}
  getActiveRange() { return this.active; }
  getRange(row, column, rows = 1, columns = 1) { return new Range(this, row, column, rows, columns); }
}

class Range {
  constructor(sheet, row, column, rows, columns) { Object.assign(this, { sheet, row, column, rows, columns }); }
  getSheet() { return this.sheet; }
  getRow() { return this.row; }
  getColumn() { return this.column; }
  getNumRows() { return this.rows; }
  getNumColumns() { return this.columns; }
  getValues() {
    return Array.from({ length: this.rows }, (_, r) => Array.from({ length: this.columns }, (_, c) => this.sheet.get(this.row + r, this.column + c)));
  }
  getValue() { return this.getValues()[0][0]; }
  setValues(values) {
    if (values.length !== this.rows || values.some((row) => row.length !== this.columns)) throw new Error('The number of rows or columns does not match the range');
    values.forEach((row, r) => row.forEach((value, c) => this.sheet.put(this.row + r, this.column + c, value)));
    return this;
  }
  setValue(value) { return this.setValues(Array(this.rows).fill(Array(this.columns).fill(value))); }
  setNumberFormat() { return this; }
  // A fresh checkbox is false, which is a value; so the sheet's last row is far below its last entry, as in Google's.
  insertCheckboxes() { return this.setValue(false); }
}

// Google's fetch is synchronous, Node's is not: another Node does it and prints what came.
const FETCH = `const [url, options] = JSON.parse(require('fs').readFileSync(0, 'utf8'));
fetch(url, { method: options.method, headers: { 'Content-Type': options.contentType || 'application/x-www-form-urlencoded', ...options.headers }, body: options.payload })
  .then(async (answer) => console.log(JSON.stringify({ code: answer.status, text: await answer.text() })), (error) => console.log(JSON.stringify({ failed: String(error.cause || error) })));`;

/** Loads Code.gs into a world of stand-ins. `world.outage` lets so many requests fail before one goes out. */
function load(file) {
  const sheets = new Map();
  const properties = new Map();
  const world = { sheets, properties, outage: 0, loseAnswers: 0, toasts: [], sleeps: [], menu: [], triggers: [], prompts: [], requests: [], locked: 0 };
  const book = {
    getSheetByName: (name) => sheets.get(name) || null,
    insertSheet: (name) => { const sheet = new Sheet(name); sheets.set(name, sheet); return sheet; },
    getSpreadsheetTimeZone: () => 'Europe/Madrid',
    toast: (message) => world.toasts.push(message),
  };
  const menu = { addItem: (label, handler) => { world.menu.push({ label, handler }); return menu; }, addSeparator: () => menu, addToUi: () => {} };
  const ui = {
    Button: { OK: 'ok', CANCEL: 'cancel' }, ButtonSet: { OK_CANCEL: 'both' },
    createMenu: () => menu,
    prompt: () => { const said = world.prompts.shift(); return { getSelectedButton: () => (said === undefined ? 'cancel' : 'ok'), getResponseText: () => said || '' }; },
  };
  const trigger = (handler) => { const kind = { create: () => world.triggers.push(handler) }; const on = { onEdit: () => kind, everyMinutes: () => kind }; return { forSpreadsheet: () => on, timeBased: () => on }; };
  const globals = {
    SpreadsheetApp: { getActiveSpreadsheet: () => book, getUi: () => ui, flush: () => {} },
    PropertiesService: {
      getDocumentProperties: () => ({
        getProperty: (key) => (properties.has(key) ? properties.get(key) : null),
        setProperty: (key, value) => { if (Buffer.byteLength(value) > 9216) throw new Error('Argument too large'); properties.set(key, value); },
        deleteProperty: (key) => properties.delete(key),
      }),
    },
    LockService: { getDocumentLock: () => ({ waitLock: () => { if (world.locked++) throw new Error('Lock timeout'); }, releaseLock: () => { world.locked--; } }) },
    ScriptApp: { getProjectTriggers: () => world.triggers.map((handler) => ({ getHandlerFunction: () => handler })), newTrigger: trigger },
    Session: { getActiveUserLocale: () => world.locale || 'ca' },
    Utilities: {
      Charset: { UTF_8: 'utf8' },
      formatDate: (date, zone, format) => {
        if (format !== 'yyyy-MM-dd HH:mm') throw new Error('a format that the stand-in does not know: ' + format);
        return new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'short' }).format(date);
      },
      sleep: (ms) => world.sleeps.push(ms),
      newBlob: (value) => ({ getBytes: () => [...Buffer.from(value, 'utf8')] }),
      computeHmacSha256Signature: (value, key, charset) => [...new Int8Array(crypto.createHmac('sha256', Buffer.from(key, charset)).update(Buffer.from(value, charset)).digest())],
    },
    UrlFetchApp: {
      fetch: (url, options) => {
        if (!options.muteHttpExceptions) throw new Error('a refusal would be an exception');
        world.requests.push({ url, body: options.payload });
        if (world.outage > 0) { world.outage--; throw new Error('Address unavailable: ' + url); }
        const done = spawnSync(process.execPath, ['-e', FETCH], { input: JSON.stringify([url, options]), encoding: 'utf8' });
        const answer = JSON.parse(done.stdout);
        if (answer.failed) throw new Error('Address unavailable: ' + answer.failed);
        // It arrived, and the answer did not.
        if (world.loseAnswers > 0) { world.loseAnswers--; throw new Error('Timeout: ' + url); }
        return { getResponseCode: () => answer.code, getContentText: () => answer.text };
      },
    },
  };
  world.script = vm.createContext({ ...globals, console });
  vm.runInContext(fs.readFileSync(file, 'utf8'), world.script, { filename: file });
  return world;
}

module.exports = { load };
