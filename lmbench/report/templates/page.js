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
  const whole = document.getElementById("reader-whole"); // there if tokens are pieces of words
  let place = 0;

  const entry = (model) => reader.models[model.value][sentence.value];
  const sum = (numbers) => numbers.reduce((all, nats) => (all === null || nats === null ? null : all + nats), 0);

  // What is shown: words where they are asked for and known, else tokens; [text, first token, the one after the last]
  function units(said) {
    const from = said.tokens ? said : reader.sentences[sentence.value];
    if (!from.words || !whole.checked) return from.tokens.map((token, at) => [token, at, at + 1]);
    return from.words.map((word, at) => [word, from.starts[at], from.starts[at + 1] ?? from.tokens.length]);
  }

  function aligned() {
    const [one, other] = [units(entry(left)), units(entry(right))];
    return one.length === other.length && one.every(([text], at) => text === other[at][0]);
  }

  function describe(said, [text, first, end]) {
    const box = element("div", "detail");
    const line = element("p");
    const word = element("b", "", written(text));
    const nats = sum(said.nats.slice(first, end));
    word.lang = data.language;
    line.append(word, ` ${show(bits(nats), 2)} bits, probability ${probability(nats)}`);
    const single = end - first === 1;
    if (!single) {
      const tokens = said.tokens || reader.sentences[sentence.value].tokens;
      line.append("; in pieces: ");
      for (let at = first; at < end; at += 1) {
        const piece = element("b", "", written(tokens[at]));
        piece.lang = data.language;
        line.append(piece, ` ${show(bits(said.nats[at]), 2)}${at + 1 < end ? ", " : ""}`);
      }
    } else if (said.rank) line.append(`, rank ${said.rank[first].toLocaleString("en")}`);
    if (single && said.entropy) line.append(`; the model was uncertain by ${show(bits(said.entropy[first]), 1)} bits`);
    box.append(line);
    if (said.top) {
      const table = element("table");
      for (const [type, share] of said.top[first]) {
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
      heading.textContent = single ? "likeliest here" : "likeliest as the first piece";
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
      other.querySelector(".detail").replaceWith(describe(said, units(said)[at]));
    }
  }

  function panelOf(model) {
    const said = entry(model);
    const panel = element("div");
    panel.model = model;
    const [total, shown] = [bits(sum(said.nats)), units(said)];
    const name = shown.length < said.nats.length ? "word" : "token";
    const heading = element("h3", "", reader.labels[model.value]);
    heading.append(element("small", "", `${show(total, 1)} bits, ${show(total / shown.length, 2)} per ${name}`));
    const list = element("div", "tokens");
    list.lang = data.language;
    list.setAttribute("role", "group");
    list.setAttribute("aria-label", `The sentence under ${reader.labels[model.value]}`);
    shown.forEach(([text, first, end], at) => {
      const surprisal = bits(sum(said.nats.slice(first, end)));
      const cell = element("button", `token h${Math.min(8, Math.floor(surprisal / 2))}`, written(text));
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
    const [one, other] = [entry(left), entry(right)];
    const apart = units(one).map(([, first, end], at) => {
      const [, begin, stop] = units(other)[at];
      const [a, b] = [bits(sum(one.nats.slice(first, end))), bits(sum(other.nats.slice(begin, stop)))];
      return a === b ? 0 : Math.abs(a - b);
    });
    return Math.max(0, apart.indexOf(Math.max(...apart)));
  }

  function draw() {
    const same = left.value === right.value;
    panels.replaceChildren(...(same ? [panelOf(left)] : [panelOf(left), panelOf(right)]));
    const at = widest();
    for (const panel of panels.children) choose(panel, Math.min(at, units(entry(panel.model)).length - 1));
  }

  fill(sentence, reader.sentences.map((one) => one.text), 0);
  fill(left, reader.labels, 0);
  fill(right, reader.labels, reader.labels.length > 1 ? 1 : 0);
  for (const control of [sentence, left, right, whole]) control?.addEventListener("change", draw);
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
