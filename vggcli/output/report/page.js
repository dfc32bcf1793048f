
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const { rows, classes, bins } = data;
  const BARS = 5; // of one card; the closer look has all
  const AHEAD = 600; // pixels above and below the window that are filled already
  const PRINTED = 200; // cards; paper is not for thousands
  const FEW_CLASSES = 10;
  const WITH_NUMBERS = 20000; // names of more rows are sorted by their characters alone, which is ten times as fast

  // What is asked for, and what is shown for it: numbers of rows.
  const asked = { query: "", class: -1, low: 0, high: 100, show: "all", sort: "input", kind: "" };
  let words = [];
  let view = [];
  let here = 0; // the place in the view that keys move

  // Rows: [path, kind, reason] or [path, is cut short, [class, millionths, ...]].
  const isFailed = (row) => typeof row[1] === "string";
  const best = (row) => (isFailed(row) || row[2].length === 0 ? -1 : row[2][0]);
  const sure = (row) => (isFailed(row) || row[2].length === 0 ? -1 : row[2][1]);
  const sures = Int32Array.from(rows, sure);
  const percent = (millionths) =>
    millionths < 0 ? "not a number" : millionths >= 500 || millionths === 0 ? (millionths / 10000).toFixed(1) + " %" : "<0.1 %";
  // The table's own colours, from the same probabilities.
  const tone = (row) => (isFailed(row) ? "failed" : sure(row) >= 750000 ? "good" : sure(row) >= 400000 ? "fair" : "poor");
  const count = (number) => number.toLocaleString("en");

  const uses = new Map();
  for (const [, name] of classes) uses.set(name, (uses.get(name) || 0) + 1);
  // Some networks have two classes of one name: then the index tells them apart.
  const nameOf = (number) => (uses.get(classes[number][1]) > 1 ? `${classes[number][1]} (${classes[number][0]})` : classes[number][1]);

  function make(tag, parent, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  }

  // Thumbnails stand behind this script, so that the page is there before they are; each element is read when needed.
  const chunks = new Map();
  function thumbnail(number) {
    const chunk = Math.floor(number / data.chunk);
    if (!chunks.has(chunk)) {
      const element = $("t" + chunk);
      // Until the next one stands behind it, the browser may still be reading it.
      if (!element || (document.readyState === "loading" && !element.nextElementSibling)) return null;
      chunks.set(chunk, JSON.parse(element.textContent));
      element.remove();
    }
    const text = chunks.get(chunk)[number % data.chunk];
    return text ? `data:image/${text.startsWith("/9j/") ? "jpeg" : "webp"};base64,${text}` : "";
  }
  const markTiny = (event) => event.target.classList.toggle("tiny", event.target.naturalWidth <= 64 && event.target.naturalHeight <= 64);

  // One card.
  function emptyCard() {
    const card = make("div", null, "card");
    card.setAttribute("role", "option");
    card.setAttribute("aria-selected", "false");
    const picture = make("div", card, "picture");
    const image = make("img", picture);
    image.alt = "";
    image.decoding = "async";
    image.addEventListener("load", markTiny);
    const said = make("span", picture);
    const facts = make("div", card, "facts");
    const bars = [];
    const name = make("div", card, "name");
    return { card, image, said, facts, bars, head: make("span", name), tail: make("span", name) };
  }

  function bar(parent, isFirst) {
    const line = make("div", parent, isFirst ? "class first" : "class");
    return { line, name: make("span", line), number: make("b", line), fill: make("i", line) };
  }

  function fillBar(parts, number, millionths) {
    parts.name.textContent = nameOf(number);
    parts.number.textContent = percent(millionths);
    parts.fill.style.width = Math.max(0, millionths) / 10000 + "%";
  }

  function fill(parts, number) {
    const row = rows[number];
    const failed = isFailed(row);
    parts.card.className = "card " + tone(row);
    const source = failed ? "" : thumbnail(number);
    parts.image.hidden = !source;
    if (source) parts.image.src = source;
    else parts.image.removeAttribute("src");
    parts.waits = source === null;
    parts.said.textContent = failed ? row[1] : source === "" ? "no thumbnail" : "";
    parts.said.hidden = Boolean(source);
    fillFacts(parts, row, failed);
    // The end of a path tells more than its middle: the file's name stays.
    const at = row[0].lastIndexOf("/") + 1;
    parts.head.textContent = row[0].slice(0, at);
    parts.tail.textContent = row[0].slice(at);
    parts.card.title = row[0];
    const what = failed ? `failed, ${row[1]}, ${row[2]}` : row[2].length ? `${nameOf(row[2][0])}, ${percent(row[2][1])}` : "no class";
    parts.card.setAttribute("aria-label", `${row[0]}: ${what}`);
  }

  function fillFacts(parts, row, failed) {
    const shown = failed ? 0 : Math.min(BARS, row[2].length / 2);
    while (parts.bars.length < shown) parts.bars.push(bar(null, parts.bars.length === 0));
    const lines = parts.bars.slice(0, shown).map((one, rank) => {
      fillBar(one, row[2][2 * rank], row[2][2 * rank + 1]);
      return one.line;
    });
    if (failed) lines.push(make("p", null, "reason", row[2]));
    else if (!shown) lines.push(make("p", null, "quiet", "no class as probable as was asked for"));
    if (!failed && row[1]) lines.push(make("p", null, "mark", "cut short: its data end early"));
    parts.facts.replaceChildren(...lines);
  }

  // The grid: only what is near the window exists.
  const grid = $("grid");
  const shown = new Map(); // place in the view -> card
  const spare = [];
  let columns = 1, width = 0, height = 0, gap = 0, step = 0;

  function measure() {
    const style = getComputedStyle(document.documentElement);
    const number = (name) => parseFloat(style.getPropertyValue(name));
    const lines = rows.reduce((most, row) => (isFailed(row) ? most : Math.max(most, row[2].length / 2)), 1);
    const picture = number("--picture");
    const facts = 24 + 21 * (Math.min(BARS, lines) - 1) + (rows.some((row) => row[1] === 1) ? 20 : 0) + 8 + 34;
    height = Math.max(picture + facts, 112);
    document.documentElement.style.setProperty("--card-height", height);
    gap = number("--gap");
    const room = grid.clientWidth;
    columns = Math.max(1, Math.floor((room + gap) / (number("--least") + gap)));
    width = (room - gap * (columns - 1)) / columns;
    step = height + gap;
    clear();
    grid.style.height = Math.max(0, Math.ceil(view.length / columns) * step - gap) + "px";
  }

  function clear() {
    for (const parts of shown.values()) release(parts);
    shown.clear();
  }

  function release(parts) {
    parts.card.remove();
    spare.push(parts);
  }

  function draw() {
    const top = -grid.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor((top - AHEAD) / step)) * columns;
    const to = Math.min(view.length, Math.max(0, Math.ceil((top + innerHeight + AHEAD) / step)) * columns);
    for (const [place, parts] of shown) {
      if (place < from || place >= to) {
        release(parts);
        shown.delete(place);
      }
    }
    const fresh = document.createDocumentFragment();
    for (let place = from; place < to; place++) if (!shown.has(place)) fresh.append(put(place).card);
    grid.append(fresh);
    mark();
  }

  function put(place) {
    const parts = spare.pop() || emptyCard();
    fill(parts, view[place]);
    parts.card.style.width = width + "px";
    parts.card.style.transform = `translate(${(place % columns) * (width + gap)}px, ${Math.floor(place / columns) * step}px)`;
    parts.card.id = "c" + place;
    parts.card.setAttribute("aria-setsize", view.length);
    parts.card.setAttribute("aria-posinset", place + 1);
    shown.set(place, parts);
    return parts;
  }

  let marked = null;
  function mark() {
    const card = shown.has(here) ? shown.get(here).card : null;
    if (marked && marked !== card) {
      marked.classList.remove("here");
      marked.setAttribute("aria-selected", "false");
    }
    if (card) {
      card.classList.add("here");
      card.setAttribute("aria-selected", "true");
    }
    marked = card;
    if (shown.has(here)) grid.setAttribute("aria-activedescendant", "c" + here);
    else grid.removeAttribute("aria-activedescendant");
  }

  let isWaiting = false;
  function drawSoon() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      draw();
    });
  }

  // Which rows, in which order.
  const texts = []; // what a query is looked for in, made once
  const textOf = (number) => {
    if (texts[number] === undefined) {
      const row = rows[number];
      const names = isFailed(row) ? [row[1], row[2]] : row[2].filter((_, at) => at % 2 === 0).map(nameOf);
      texts[number] = [row[0], ...names].join("\n").toLowerCase();
    }
    return texts[number];
  };

  const orders = {};
  function order() {
    if (!orders[asked.sort]) {
      const numbers = rows.map((_, number) => number);
      const collator = new Intl.Collator("en", { numeric: true });
      const byName = rows.length <= WITH_NUMBERS
        ? (a, b) => collator.compare(rows[a][0], rows[b][0])
        : (a, b) => (rows[a][0] < rows[b][0] ? -1 : rows[a][0] > rows[b][0] ? 1 : 0);
      // What has no probability is last in either order.
      const bySure = (a, b) => sures[b] - sures[a];
      const byUnsure = (a, b) => (sures[a] < 0) - (sures[b] < 0) || sures[a] - sures[b];
      const compare = { input: null, name: byName, sure: bySure, unsure: byUnsure }[asked.sort];
      orders[asked.sort] = compare ? numbers.sort((a, b) => compare(a, b) || a - b) : numbers;
    }
    return orders[asked.sort];
  }

  const isProbable = (value) => (asked.low <= 0 && asked.high >= 100) || (value >= asked.low * 10000 && value <= asked.high * 10000);

  // Whether a row is asked for; a histogram leaves out what is asked of itself, so that it shows what else there is.
  function matches(number, leaveOut) {
    const row = rows[number];
    const failed = isFailed(row);
    if (asked.show === "ok" && failed) return false;
    if (asked.show === "failed" && !failed) return false;
    if (asked.kind && row[1] !== asked.kind) return false;
    if (asked.class >= 0 && best(row) !== asked.class && leaveOut !== "class") return false;
    if (!isProbable(sures[number]) && leaveOut !== "sure") return false;
    return words.every((word) => textOf(number).includes(word));
  }

  function refresh() {
    words = asked.query.split(/\s+/);
    view = order().filter((number) => matches(number));
    here = 0;
    measure();
    $("count").textContent = view.length === rows.length ? `${count(rows.length)} images` : `${count(view.length)} of ${count(rows.length)} images`;
    $("none").hidden = view.length > 0;
    $("everything").hidden = view.length === rows.length && !asked.query && asked.show === "all";
    overlay();
    const top = grid.getBoundingClientRect().top;
    if (top < 0) scrollBy(0, top - $("tools").offsetHeight);
    draw();
  }

  // The histograms: all images pale, those shown on top.
  const binButtons = [];
  let showsAllClasses = false;
  const highestBin = Math.max(1, ...bins);
  const binWidth = 100 / bins.length;
  const byUse = classes.map((_, number) => number).filter((number) => classes[number][2] > 0);
  byUse.sort((a, b) => classes[b][2] - classes[a][2] || a - b);

  function buildBins() {
    bins.forEach((images, at) => {
      const button = make("button", $("bins"));
      button.type = "button";
      if (images) button.dataset.any = "";
      const text = `${at * binWidth} to ${(at + 1) * binWidth} %: ${count(images)} image${images === 1 ? "" : "s"}`;
      button.title = text;
      button.setAttribute("aria-label", text);
      const all = make("i", button);
      // Never nothing for what is there.
      all.style.height = images ? Math.max(3, (100 * images) / highestBin) + "%" : 0;
      binButtons.push({ button, part: make("i", button) });
      button.addEventListener("click", () => {
        const isOn = button.getAttribute("aria-pressed") === "true";
        $("low").value = isOn ? "" : at * binWidth;
        $("high").value = isOn ? "" : (at + 1) * binWidth;
        read();
      });
    });
  }

  function overlay() {
    const inBin = new Array(bins.length).fill(0);
    const inClass = new Map();
    rows.forEach((row, number) => {
      if (best(row) < 0) return;
      if (matches(number, "sure")) inBin[Math.min(bins.length - 1, Math.floor((Math.max(0, sures[number]) * bins.length) / 1000000))]++;
      if (matches(number, "class")) inClass.set(best(row), (inClass.get(best(row)) || 0) + 1);
    });
    const share = data.images / Math.max(1, rows.length); // of a sample, its share stands for all
    binButtons.forEach(({ button, part }, at) => {
      part.style.height = inBin[at] ? Math.min(100, Math.max(3, (100 * inBin[at] * share) / highestBin)) + "%" : 0;
      const isOn = Math.abs(asked.low - at * binWidth) < 1e-9 && Math.abs(asked.high - (at + 1) * binWidth) < 1e-9;
      button.setAttribute("aria-pressed", isOn);
    });
    listClasses(inClass, share);
    for (const button of document.querySelectorAll("[data-kind]")) button.setAttribute("aria-pressed", button.dataset.kind === asked.kind);
  }

  // The most frequent classes among what is asked for, each with how many there are of it in all.
  function listClasses(inClass, share) {
    const sorted = byUse.slice().sort((a, b) => (inClass.get(b) || 0) - (inClass.get(a) || 0));
    const listed = showsAllClasses ? sorted : sorted.slice(0, FEW_CLASSES);
    if (asked.class >= 0 && !listed.includes(asked.class)) listed.push(asked.class);
    const most = Math.max(1, ...listed.map((number) => classes[number][2]));
    const buttons = listed.map((number) => {
      const [, , all] = classes[number];
      const part = inClass.get(number) || 0;
      const button = make("button", null);
      button.type = "button";
      make("span", button, "", nameOf(number));
      make("b", button, "", part * share === all || rows.length < data.images ? count(all) : `${count(part)} of ${count(all)}`);
      make("i", button).style.width = (100 * all) / most + "%";
      make("i", button).style.width = Math.min(100, (100 * part * share) / most) + "%";
      button.title = nameOf(number);
      button.dataset.class = number;
      button.setAttribute("aria-pressed", asked.class === number);
      return button;
    });
    const focused = document.activeElement && document.activeElement.dataset.class;
    $("classes").replaceChildren(...buttons);
    if (focused !== undefined) (buttons.find((button) => button.dataset.class === focused) || grid).focus({ preventScroll: true });
    $("more").hidden = byUse.length <= FEW_CLASSES;
    $("more").textContent = showsAllClasses ? "fewer classes" : `all ${count(byUse.length)} classes`;
  }

  function read() {
    asked.query = $("query").value.toLowerCase().trim();
    asked.class = Number($("class").value);
    const number = (id, missing) => ($(id).value === "" || isNaN($(id).value) ? missing : Number($(id).value));
    asked.low = number("low", 0);
    asked.high = number("high", 100);
    asked.show = $("show").value;
    if (asked.show === "ok") asked.kind = "";
    asked.sort = $("sort").value;
    refresh();
  }

  function reset() {
    const sort = $("sort").value;
    $("tools").reset();
    $("sort").value = sort;
    asked.kind = "";
    read();
  }

  // A closer look.
  const detail = $("detail");
  function look() {
    const number = view[here];
    if (number === undefined) return;
    const row = rows[number];
    const failed = isFailed(row);
    const source = failed ? "" : thumbnail(number);
    $("d-image").hidden = !source;
    $("d-none").hidden = Boolean(source);
    if (source) $("d-image").src = source;
    $("d-path").textContent = row[0];
    const about = failed ? `${row[1]}: ${row[2]}` : row[1] ? "cut short: its data end early" : "";
    $("d-note").textContent = `${count(here + 1)} of ${count(view.length)}${about ? " · " + about : ""}`;
    $("d-classes").className = tone(row);
    $("d-classes").replaceChildren();
    if (!failed) {
      for (let at = 0; at < row[2].length; at += 2) {
        const parts = bar(make("li", $("d-classes")), at === 0);
        fillBar(parts, row[2][at], row[2][at + 1]);
        parts.line.title = `class ${classes[row[2][at]][0]}, probability ${(row[2][at + 1] / 1000000).toFixed(6)}`;
      }
    }
    if (!detail.open) detail.showModal();
  }

  function go(place) {
    if (!view.length) return;
    here = Math.max(0, Math.min(view.length - 1, place));
    const tools = $("tools");
    const covered = getComputedStyle(tools).position === "sticky" ? tools.offsetHeight : 0;
    const top = grid.getBoundingClientRect().top + Math.floor(here / columns) * step;
    if (top < covered) scrollBy(0, top - covered - 4);
    else if (top + height > innerHeight) scrollBy(0, top + height - innerHeight + gap);
    draw();
    if (detail.open) look();
  }

  const moves = { ArrowLeft: () => here - 1, ArrowRight: () => here + 1, ArrowUp: () => here - columns, ArrowDown: () => here + columns, Home: () => 0, End: () => view.length - 1 };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const types = event.target.matches("input, select, textarea");
    if (detail.open) {
      const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (by) go(here + by);
      else return;
    } else if (event.key === "/" && !types) {
      $("query").focus();
      $("query").select();
    } else if (event.key === "Escape") {
      reset();
      grid.focus({ preventScroll: true });
    } else if (event.target === $("query") && (event.key === "Enter" || event.key === "ArrowDown")) {
      grid.focus({ preventScroll: true });
      draw();
    } else if (types || event.target.matches("button")) {
      return;
    } else if (event.key === "Enter") look();
    else if (moves[event.key]) {
      if (document.activeElement !== grid) {
        grid.focus({ preventScroll: true });
        go(here);
      } else go(moves[event.key]());
    } else return;
    event.preventDefault();
  });

  grid.addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (!card) return;
    here = Number(card.id.slice(1));
    mark();
    look();
  });
  detail.addEventListener("click", (event) => event.target === detail && detail.close());
  detail.addEventListener("close", () => grid.focus({ preventScroll: true }));
  $("d-image").addEventListener("load", markTiny);
  $("tools").addEventListener("submit", (event) => event.preventDefault());
  $("tools").addEventListener("input", read);
  $("everything").addEventListener("click", (event) => {
    event.preventDefault();
    reset();
  });
  $("more").addEventListener("click", () => {
    showsAllClasses = !showsAllClasses;
    overlay();
  });
  $("classes").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const number = Number(button.dataset.class);
    $("class").value = asked.class === number ? -1 : number;
    read();
  });
  for (const button of document.querySelectorAll("[data-kind]")) {
    button.addEventListener("click", () => {
      asked.kind = asked.kind === button.dataset.kind ? "" : button.dataset.kind;
      $("show").value = asked.kind ? "failed" : "all";
      read();
    });
  }
  addEventListener("scroll", drawSoon, { passive: true });
  addEventListener("resize", () => {
    measure();
    drawSoon();
  });

  // On paper: plain cards instead of the grid.
  addEventListener("beforeprint", () => {
    $("overview").open = true;
    const cards = view.slice(0, PRINTED).map((number) => {
      const parts = emptyCard();
      parts.image.decoding = "sync";
      fill(parts, number);
      return parts.card;
    });
    $("printed").replaceChildren(...cards);
    $("printed-note").hidden = view.length <= PRINTED;
    $("printed-note").textContent = `The first ${count(PRINTED)} of ${count(view.length)} images.`;
  });
  addEventListener("afterprint", () => {
    fold();
    $("printed").replaceChildren();
    $("printed-note").hidden = true;
  });

  const isNarrow = matchMedia("(max-width: 860px)");
  const fold = () => ($("overview").open = !isNarrow.matches);
  isNarrow.addEventListener("change", fold);
  fold();
  const byName = byUse.slice().sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  for (const number of byName) make("option", $("class"), "", `${nameOf(number)} (${count(classes[number][2])})`).value = number;
  buildBins();
  refresh();

  // Thumbnails that the browser has read meanwhile.
  function redraw() {
    for (const [place, parts] of shown) if (parts.waits) fill(parts, view[place]);
    mark();
  }
  document.addEventListener("DOMContentLoaded", redraw);
})();
