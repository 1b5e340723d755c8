'use strict';
// Plays a team with the add-on against a real ingress. Environment: CODE (Code.gs), INGRESS_URL, EXCEL_SECRET, PRJ.
// Exit code 0 when all is as it should be; the documents are looked at by who started this.
const assert = require('node:assert/strict');
const { load } = require('./stand_ins.js');

const { CODE, INGRESS_URL, EXCEL_SECRET, PRJ } = process.env;
const world = load(CODE);
const { script } = world;
const status = (row) => String(world.sheets.get('Hores').get(row, 2));

// A teacher installs it.
script.onOpen();
assert.deepEqual(world.menu.filter(({ handler }) => typeof script[handler] !== 'function'), [], 'every menu entry has its function');
script.setUp();
script.setUp();
assert.deepEqual(world.triggers, ['onTick', 'retryWaiting'], 'twice set up is once set up');
const hours = world.sheets.get('Hores');
const row = (n, cells) => hours.getRange(n, 4, 1, cells.length).setValues([cells]);
hours.getRange(1, 10, 1, 3).setValues([['Joan M. Puig', 'Núria $olé', '王小明']]);
// The formulas have come to this (an error cell comes as its text).
world.sheets.get('LD Config').getRange(1, 2, 8, 1).setValues([[0.5], ['#N/A'], [''], [2], [3.5], [0], [0.25], [1]]);
const date = new Date('2026-11-22T23:00:00.000Z');
row(2, ['Sprint 2', date, 3.5, 'Desenvolupament', 'Validació «ç» 😀', 'Autenticació', 1.5, 2, '']);
row(3, ['Sprint 2', date, '1,5', 'Documentació', '', '', 0.5, '', 1]);
row(4, ['Sprint 2', date, '1,5', 'Documentació', '', '', 0.5, '', 1]);
row(5, ['Sprint 3', date, 1, 'Formació', 'es perd la resposta', '', 1, '', '']);

const tick = (n) => { hours.put(n, 1, true); script.onTick({ range: hours.getRange(n, 1) }); };

// Without settings nothing is sent, and the row says what to do.
tick(2);
assert.match(status(2), /^✗ Primer ompliu/);
assert.equal(world.requests.length, 0);
world.prompts = [INGRESS_URL + '/', PRJ, 'AMEP', 'wrong'];
script.askSettings();
// "Check the connection" looks at secret and project, too, and stores nothing.
const check = () => { script.checkConnection(); return world.toasts.at(-1); };
assert.match(check(), /^LD Connect respon, però el secret/);
const set = (...said) => { world.prompts = said; script.askSettings(); };
set('', '', '', EXCEL_SECRET);
assert.match(check(), /^Tot correcte/);
set('', 'a project with spaces', '', '');
assert.match(check(), /^LD Connect respon, però no accepta fulls d'aquest projecte: /);
set('', PRJ, '', 'wrong');
world.requests.length = 0;

// A wrong secret is said, not tried again, and keeps nothing.
tick(2);
assert.match(status(2), /^✗ Rebutjada: el secret/);
assert.equal(hours.get(2, 1), false, 'the box is free to be ticked again');
assert.equal(world.sleeps.length, 0);
assert.equal([...world.properties.keys()].filter((key) => key.startsWith('kept:')).length, 0);

// The right one; an edit of another cell sends nothing.
world.prompts = ['', '', '', EXCEL_SECRET];
script.askSettings();
script.onTick({ range: hours.getRange(2, 8) });
tick(2);
assert.match(status(2), /^✓ Enviada \d{4}-\d\d-\d\d \d\d:\d\d · [0-9a-f]{8}$/);
const local = new Intl.DateTimeFormat('sv-SE', { timeZone: 'Europe/Madrid', dateStyle: 'short', timeStyle: 'short' });
const minutes = [0, -60000].map((ago) => local.format(new Date(Date.now() + ago)));
assert.ok(minutes.some((minute) => status(2).includes(minute)), 'the time is where the spreadsheet is: ' + status(2));
assert.equal(hours.get(2, 1), true);

// A row that was sent is not sent again, by whatever way.
const before = world.requests.length;
tick(2);
script.sendSelected.call(null, (hours.active = hours.getRange(2, 1, 1, 3)));
assert.equal(world.requests.length, before);
assert.match(status(2), /^✓ .*no es torna a enviar/);

// An outage: four tries with growing pauses, then it waits with its bytes, and the trigger sends exactly those.
world.outage = 4;
tick(3);
assert.match(status(3), /^… Pendent/);
assert.deepEqual(world.sleeps, [1000, 2000, 4000]);
hours.put(3, 8, 'edited meanwhile');
const tried = world.requests.at(-1).body;
script.retryWaiting();
assert.match(status(3), /^✓/);
assert.equal(world.requests.at(-1).body, tried);
assert.equal(world.requests.length, before + 5, 'the trigger takes only what was tried');

// An answer that got lost: the row arrives twice and is one document.
world.loseAnswers = 4;
tick(5);
assert.match(status(5), /^… Pendent/);
script.retryWaiting();
assert.match(status(5), /^✓/);

// The rest by the menu: a row that says the same as another is still a row of its own.
script.sendAll();
assert.equal(world.toasts.at(-1), '1 enviades, no enviades: 0');
script.sendAll();
assert.equal(world.toasts.at(-1), '0 enviades, no enviades: 0');

// Who speaks another language gets other headings; what is there stays.
assert.equal(hours.get(1, 4), 'Iteració');
for (const [locale, heading] of [['es', 'Iteración'], ['en_GB', 'Iteration'], ['fr', 'Iteration']]) {
  const other = load(CODE);
  other.locale = locale;
  other.script.setUp();
  assert.equal(other.sheets.get('Hores').get(1, 4), heading);
}

// Nobody is there at all.
world.locale = 'en_GB';
world.prompts = ['http://127.0.0.1:1'];
script.askSettings();
script.checkConnection();
assert.match(world.toasts.at(-1), /^LD Connect does not answer/);
assert.equal([...world.properties.keys()].filter((key) => key.startsWith('kept:')).length, 0, 'nothing is left');
console.log('done');
