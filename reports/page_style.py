"""How the page of reports/html.py looks, and what sorts and filters its tables: CSS and JavaScript."""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2025; --soft: #5b6470; --edge: #d9dde3;
  --panel: #f5f7f9; --mark: #fff0b8; --alarm: #9b2c1f; --link: #0b5cad;
  --line-0: #0072b2; --line-1: #c2500a; --line-2: #00805e; --line-3: #b0528a; --line-4: #8a6a00;
  --line-5: #3a8fc4; --line-6: #5b5fc7; --line-7: #555; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ed; --soft: #a0a9b4;
  --edge: #353b43; --panel: #1d2127; --mark: #5a4a10; --alarm: #ff9b8a; --link: #7db8f2;
  --line-0: #5ab0e8; --line-1: #f28b4b; --line-2: #3cc79c; --line-3: #e294c2; --line-4: #e3bd4a;
  --line-5: #9cd1f2; --line-6: #a5a8ff; --line-7: #bbb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 88rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .4rem 0; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--edge); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
a { color: var(--link); }
p, figcaption, .soft { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .6rem 0; }
label { display: block; margin: .6rem 0; }
input { font: inherit; width: min(22rem, 100%); padding: .3rem .5rem; color: inherit;
  background: var(--paper); border: 1px solid var(--soft); border-radius: 4px; }
.wide { overflow-x: auto; border: 1px solid var(--edge); border-radius: 6px; margin: .6rem 0; }
table { min-width: 100%; border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .5rem .6rem; color: var(--soft); }
th, td { padding: .35rem .6rem; border-top: 1px solid var(--edge); text-align: left; vertical-align: top; }
.wide td { white-space: nowrap; }
.wide .fields td { white-space: normal; min-width: 7rem; max-width: 22rem; }
thead th { background: var(--panel); vertical-align: bottom; min-width: 6rem; max-width: 14rem; }
tbody th { position: sticky; left: 0; background: var(--paper); font-weight: 600;
  min-width: min(11rem, 38vw); max-width: 44vw; }
th button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: 0;
  text-align: left; cursor: pointer; }
th button::after { content: " \\2195"; color: var(--soft); }
th[aria-sort=ascending] button::after { content: " \\2191"; color: inherit; }
th[aria-sort=descending] button::after { content: " \\2193"; color: inherit; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 1px; }
mark { background: var(--mark); color: inherit; padding: 0 .2rem; border-radius: 3px; }
.alarm { color: var(--alarm); }
.state { display: inline-block; min-width: 9rem; max-width: 16rem; white-space: normal; }
.swatch { display: inline-block; width: 1.6rem; height: .7rem; margin-right: .4rem; }
.swatch line { stroke-width: 5; }
.cards { display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
@media (min-width: 60rem) { .broad { grid-column: span 2; } }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; list-style: none; margin: .4rem 0; padding: 0; }
figure { margin: 0; padding: .6rem; background: var(--panel); border-radius: 6px; }
figcaption { font-size: .88rem; margin: .3rem 0; }
figcaption b { color: var(--ink); }
figure svg { display: block; width: 100%; height: auto; }
img { display: block; max-width: 100%; height: auto; border-radius: 3px; background: #fff; }
img.small { width: 100%; image-rendering: pixelated; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.grid { stroke: var(--edge); }
.curve { fill: none; stroke-width: 2; }
circle { stroke-width: 2; }
details { margin: .5rem 0; }
summary { cursor: pointer; padding: .3rem 0; }
dl { display: grid; grid-template-columns: minmax(6rem, 11rem) 1fr; gap: .1rem .8rem; margin: .4rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
[hidden] { display: none !important; }
@media (max-width: 30rem) { body { padding: .7rem; } dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .3rem; } }
@media print { input, label { display: none; } .wide { overflow: visible; } }
"""

# Nothing but the order and the visibility of what is there is changed: no text becomes markup.
SCRIPT = """
"use strict";
const key = (row, column) => {
  const cell = row.cells[column], number = cell.dataset.value;
  return number === undefined ? cell.textContent.trim() : number === "" ? null : Number(number);
};
const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
  : String(a).localeCompare(String(b), undefined, {numeric: true});
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0], column = head.cellIndex;
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const rows = Array.from(body.rows, row => [key(row, column), row]);
    // What a run does not have stands last, whichever way.
    rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : sign * order(a, b));
    body.append(...rows.map(([, row]) => row));
  });
}
const field = document.getElementById("filter");
field.addEventListener("input", () => {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean), shown = new Set();
  for (const row of document.querySelectorAll("#runs tbody tr"))
    if (words.every(word => row.textContent.toLowerCase().includes(word))) shown.add(row.dataset.run);
  for (const part of document.querySelectorAll("[data-run]")) {
    const gone = !shown.has(part.dataset.run);
    part instanceof SVGElement ? part.style.display = gone ? "none" : "" : part.hidden = gone;
  }
  document.getElementById("shown").textContent = `${shown.size} shown`;
});
field.parentNode.hidden = false;
"""
