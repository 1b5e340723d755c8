'use strict';
// Connects a spreadsheet as docs/teachers.md says, and sends one row. Environment: CODE (Code.gs), and what the team's page
// shows to paste: ADDRESS, PRJ, EXCEL_SECRET. Prints what the add-on says.
const { load } = require('./stand_ins.js');

const { CODE, ADDRESS, PRJ, EXCEL_SECRET } = process.env;
const world = load(CODE);
const { script } = world;
world.locale = 'en_GB';
script.onOpen();
script.setUp();
const hours = world.sheets.get('Hores');
hours.getRange(1, 10, 1, 2).setValues([['Joan', 'Núria']]);
world.prompts = [ADDRESS, PRJ, '', EXCEL_SECRET];
script.askSettings();
script.checkConnection();
console.log(world.toasts.at(-1));
hours.getRange(2, 4, 1, 8).setValues([['Sprint 1', new Date(), 2, 'Desenvolupament', '', '', 1, 1]]);
hours.put(2, 1, true);
script.onTick({ range: hours.getRange(2, 1) });
console.log(hours.get(2, 2));
