"use strict";
// The page reads without this: it sorts tables, and shows sentences under two models.

const data = JSON.parse(document.getElementById("data").textContent);

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Tables -------------------------------------------------------------------------------------------

function key(cell) {
  const text = cell ? cell.textContent.trim() : "";
  if (text === "") return null; // empty cells stay below
  const number = text === "inf" ? Infinity : parseFloat(text.replace(/,/g, "").replace(/^< /, ""));
  return Number.isNaN(number) ? text : number;
}

function compare(one, other, sign) {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one === "number" && typeof other === "number") return (one === other ? 0 : sign * (one - other));
  return sign * String(one).localeCompare(String(other), undefined, { numeric: true });
}

function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const rising = heads[column].getAttribute("aria-sort") !== "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", rising ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(key(a.cells[column]), key(b.cells[column]), rising ? 1 : -1));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => head.addEventListener("click", () => sort(table, column)));
}

// Choices ------------------------------------------------------------------------------------------

function fill(select, texts, chosen) {
  texts.forEach((text, number) => {
    const option = element("option", "", text);
    option.value = number;
    select.append(option);
  });
  select.value = chosen;
}

function bits(nats) {
  return nats === null ? Infinity : nats / Math.LN2;
}

function show(number, decimals) {
  return Number.isFinite(number) ? number.toFixed(decimals) : "∞";
}

function probability(nats) {
  const p = nats === null ? 0 : Math.exp(-nats);
  return p === 0 ? "0" : p >= 0.001 ? p.toPrecision(2) : p.toExponential(1);
}

function written(token) {
  return token === " " ? "␣" : token === "\n" ? "⏎" : token.replace(/\n/g, "⏎");
}

// Reader -------------------------------------------------------------------------------------------

function readerOf(reader) {
  const [sentence, left, right] = ["sentence", "left", "right"].map((name) => document.getElementById(`reader-${name}`));
  const panels = document.getElementById("reader-panels");
  let place = 0;

  const entry = (model) => reader.models[model.value][sentence.value];
  const tokens = (said) => said.tokens || reader.sentences[sentence.value].tokens;
  const aligned = () => !entry(left).tokens && !entry(right).tokens;

  function describe(said, at) {
    const box = element("div", "detail");
    const surprisal = bits(said.nats[at]);
    const line = element("p");
    const word = element("b", "", written(tokens(said)[at]));
    word.lang = data.language;
    line.append(word, ` ${show(surprisal, 2)} bits, probability ${probability(said.nats[at])}`);
    if (said.rank) line.append(`, rank ${said.rank[at].toLocaleString("en")}`);
    if (said.entropy) line.append(`; the model was uncertain by ${show(bits(said.entropy[at]), 1)} bits`);
    box.append(line);
    if (said.top) {
      const table = element("table");
      for (const [type, share] of said.top[at]) {
        const row = table.insertRow();
        const cell = row.insertCell();
        cell.textContent = written(reader.types[type]);
        cell.lang = data.language;
        row.insertCell().textContent = share >= 0.001 ? share.toFixed(3) : share.toExponential(0);
        const bar = element("span", "bar");
        bar.style.width = `${100 * share}%`;
        row.insertCell().append(bar);
      }
      const heading = table.createCaption();
      heading.textContent = "likeliest here";
      box.append(table);
    } else {
      box.append(element("p", "small", "No alternatives are kept for this model here."));
    }
    return box;
  }

  function choose(panel, at) {
    place = at;
    for (const other of aligned() ? panels.children : [panel]) {
      const said = entry(other.model);
      const cells = other.querySelectorAll(".token");
      cells.forEach((cell, number) => {
        cell.classList.toggle("chosen", number === at);
        cell.tabIndex = number === at ? 0 : -1;
      });
      other.querySelector(".detail").replaceWith(describe(said, at));
    }
  }

  function panelOf(model) {
    const said = entry(model);
    const panel = element("div");
    panel.model = model;
    const total = said.nats.reduce((sum, nats) => sum + (nats === null ? Infinity : nats), 0);
    const heading = element("h3", "", reader.labels[model.value]);
    heading.append(element("small", "", `${show(bits(total), 1)} bits, ${show(bits(total) / said.nats.length, 2)} per token`));
    const list = element("div", "tokens");
    list.lang = data.language;
    list.setAttribute("role", "group");
    list.setAttribute("aria-label", `The sentence under ${reader.labels[model.value]}`);
    said.nats.forEach((nats, at) => {
      const surprisal = bits(nats);
      const cell = element("button", `token h${Math.min(8, Math.floor(surprisal / 2))}`, written(tokens(said)[at] ?? ""));
      cell.type = "button";
      cell.append(element("small", "", show(surprisal, 1)));
      cell.addEventListener("mouseenter", () => choose(panel, at));
      cell.addEventListener("focus", () => choose(panel, at));
      cell.addEventListener("click", () => choose(panel, at));
      list.append(cell);
    });
    list.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
      const cell = move && list.children[place + move];
      if (cell) cell.focus();
      if (move) event.preventDefault();
    });
    const box = element("div", "detail");
    panel.append(heading, list, box);
    return panel;
  }

  function widest() {
    if (!aligned()) return 0;
    const [one, other] = [entry(left).nats, entry(right).nats];
    const apart = one.map((nats, at) => Math.abs(nats - other[at]));
    return Math.max(0, apart.indexOf(Math.max(...apart)));
  }

  function draw() {
    const same = left.value === right.value;
    panels.replaceChildren(...(same ? [panelOf(left)] : [panelOf(left), panelOf(right)]));
    const at = widest();
    for (const panel of panels.children) choose(panel, Math.min(at, entry(panel.model).nats.length - 1));
  }

  fill(sentence, reader.sentences.map((one) => one.text), 0);
  fill(left, reader.labels, 0);
  fill(right, reader.labels, reader.labels.length > 1 ? 1 : 0);
  for (const select of [sentence, left, right]) select.addEventListener("change", draw);
  for (const [name, step] of [["previous", -1], ["next", 1]]) {
    document.getElementById(`reader-${name}`).addEventListener("click", () => {
      const count = reader.sentences.length;
      sentence.value = (Number(sentence.value) + step + count) % count;
      draw();
    });
  }
  draw();
}

// Most different sentences ---------------------------------------------------------------------------

function differentOf(different) {
  const [left, right] = ["left", "right"].map((name) => document.getElementById(`different-${name}`));
  const panels = document.getElementById("different-panels");

  function listOf(better, worse) {
    const found = different.sentences
      .map((one) => ({ one, gain: bits(one.nats[worse]) - bits(one.nats[better]) }))
      .filter((found) => found.gain > 0)
      .sort((a, b) => b.gain - a.gain)
      .slice(0, different.shown);
    const panel = element("div");
    panel.append(element("h3", "", `Better told by ${different.labels[better]}`));
    const list = element("ol", "sentences");
    for (const { one, gain } of found) {
      const item = element("li");
      const text = element("p", "", one.text);
      text.lang = data.language;
      const numbers = `${different.labels[better]} ${show(bits(one.nats[better]), 2)}, ${different.labels[worse]} ${show(bits(one.nats[worse]), 2)} bits per token: ${show(gain, 2)} apart`;
      item.append(text, element("p", "small", numbers));
      list.append(item);
    }
    panel.append(found.length ? list : element("p", "small", "None."));
    return panel;
  }

  function draw() {
    const [one, other] = [Number(left.value), Number(right.value)];
    panels.replaceChildren(...(one === other ? [element("p", "small", "Choose two models.")] : [listOf(one, other), listOf(other, one)]));
  }

  fill(left, different.labels, 0);
  fill(right, different.labels, 1);
  for (const select of [left, right]) select.addEventListener("change", draw);
  draw();
}

if (data.reader) readerOf(data.reader);
if (data.different) differentOf(data.different);
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
