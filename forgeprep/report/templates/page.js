"use strict";
// The page is whole without this script; it sorts, filters, and shows pictures large.

const all = (selector, from = document) => [...from.querySelectorAll(selector)];

function made(tag, facts = {}, ...inside) {
  const element = Object.assign(document.createElement(tag), facts);
  element.append(...inside);
  return element;
}

// Tables: a heading sorts by its column, a field filters the rows of long ones.

function order(text) {
  const number = Number.parseFloat(text.replace(/[,\s%]/g, ""));
  return Number.isNaN(number) ? null : number;
}

function sortTable(table, head) {
  const column = head.cellIndex, body = table.tBodies[0], down = head.getAttribute("aria-sort") === "ascending";
  const isNumber = head.classList.contains("number");
  all("th", table.tHead).forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => row.cells[column].textContent.trim();
  const rows = [...body.rows].map(row => [isNumber ? order(key(row)) : key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const way = isNumber ? a - b : a.localeCompare(b, "en", { numeric: true });
    return down ? -way : way;
  });
  body.append(...rows.map(([, row]) => row));
}

for (const table of all("table")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 2) continue;
  for (const head of table.tHead.rows[0].cells) {
    if (head.classList.contains("chart")) continue;
    const button = made("button", { type: "button", textContent: head.textContent });
    button.addEventListener("click", () => sortTable(table, head));
    head.replaceChildren(button);
  }
  if (rows.length < 12) continue;
  const field = made("input", { type: "search", placeholder: "part of a row" });
  const told = made("output");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
    told.textContent = field.value.trim() ? `${rows.filter(row => !row.hidden).length} of ${rows.length} rows` : "";
  });
  const label = made("label", {}, `Filter ${table.caption.textContent.toLowerCase()}`, field);
  table.closest(".table").prepend(made("div", { className: "find" }, label, told));
}

// Pictures: filter, sort and size.

const controls = document.querySelector(".controls");
const samples = all("#sheets .sample");
const galleries = all("#sheets .gallery");
const homes = new Map(samples.map(sample => [sample, sample.parentElement]));
const headings = new Map(galleries.map(gallery => [gallery, gallery.previousElementSibling]));
const sorted = made("div", { className: "gallery sorted" });

function arrange() {
  const choices = all("select[data-by]", controls).filter(select => select.value);
  const words = controls.querySelector("[data-find]").value.toLowerCase().split(/\s+/);
  for (const sample of samples) {
    const text = sample.querySelector("figcaption").textContent.toLowerCase();
    sample.hidden = !choices.every(select => sample.dataset[select.dataset.by] === select.value)
      || !words.every(word => text.includes(word));
  }
  const by = controls.querySelector("[data-sort]").value;
  const name = by.replace("-", ""), sign = by.startsWith("-") ? -1 : 1;
  const key = sample => name in sample.dataset ? sign * Number(sample.dataset[name]) : Infinity;
  const ordered = by ? [...samples].sort((a, b) => key(a) - key(b) || 0) : samples;
  for (const sample of ordered) (by ? sorted : homes.get(sample)).append(sample);
  for (const gallery of galleries) {
    const empty = Boolean(by) || ![...gallery.children].some(sample => !sample.hidden);
    gallery.hidden = headings.get(gallery).hidden = empty;
  }
  const shown = samples.filter(sample => !sample.hidden).length;
  controls.querySelector("output").textContent = `${shown} of ${samples.length} samples`;
}

function showAll() {
  all("select", controls).forEach(select => { select.value = ""; });
  controls.querySelector("[data-find]").value = "";
  arrange();
}

if (controls) {
  controls.hidden = false;
  galleries[0].previousElementSibling.before(sorted);
  all("select, [data-find]", controls).forEach(field => field.addEventListener("input", arrange));
  const size = controls.querySelector("[data-size]");
  size.addEventListener("input", () => document.documentElement.style.setProperty("--thumb", `${size.value}px`));
  arrange();
  // A link leads to a sample even where a filter hides it now.
  document.addEventListener("click", event => {
    const link = event.target.closest("a[href^='#']");
    const target = link && document.getElementById(link.hash.slice(1));
    if (target && (target.hidden || target.parentElement === sorted)) showAll();
  });
}

// One picture, large.

const box = document.querySelector(".lightbox");
const stage = box.querySelector(".stage");
const large = made("img", { alt: "", draggable: false });
let shown = null, zoom = 1;

const pictures = () => all(".sample img").filter(picture => !picture.closest("[hidden]"));

function resize(factor) {
  const fit = Math.min(stage.clientWidth, stage.clientHeight) / Math.max(shown.naturalWidth, shown.naturalHeight);
  zoom = Math.min(12, Math.max(1, zoom * factor));
  const middle = ["Left", "Top"].map((side, axis) => {
    const length = axis ? stage.clientHeight : stage.clientWidth, whole = axis ? stage.scrollHeight : stage.scrollWidth;
    return [side, (stage[`scroll${side}`] + length / 2) / whole, length];
  });
  large.style.width = `${Math.floor(shown.naturalWidth * fit * zoom)}px`;
  for (const [side, share, length] of middle) {
    stage[`scroll${side}`] = share * (side === "Left" ? stage.scrollWidth : stage.scrollHeight) - length / 2;
  }
}

function show(picture) {
  if (!picture) return;
  shown = picture;
  large.src = picture.src;
  large.alt = picture.alt;
  large.className = picture.className;
  if (!large.parentElement) stage.append(large);
  const caption = picture.closest(".sample").querySelector("figcaption").textContent;
  box.querySelector(".bar p").textContent = `${picture.parentElement.textContent.trim()} · ${caption}`;
  if (!box.open) {
    zoom = 1;
    box.showModal();
  }
  resize(1);
}

function step(by) {
  const list = pictures();
  show(list[list.indexOf(shown) + by]);
}

function stepSample(by) {
  const list = all(".sample").filter(sample => !sample.closest("[hidden]"));
  const own = shown.closest(".sample"), place = [...all("img", own)].indexOf(shown);
  const next = list[list.indexOf(own) + by];
  const inside = next ? all("img", next) : [];
  const same = inside.find(picture => picture.parentElement.textContent === shown.parentElement.textContent);
  show(same || inside[Math.min(place, inside.length - 1)]);
}

const acts = {
  back: () => step(-1), next: () => step(1), in: () => resize(1.5), out: () => resize(1 / 1.5), close: () => box.close(),
};
const keys = {
  ArrowLeft: acts.back, ArrowRight: acts.next, ArrowUp: () => stepSample(-1), ArrowDown: () => stepSample(1),
  "+": acts.in, "=": acts.in, "-": acts.out,
};

for (const picture of all(".sample img")) {
  picture.tabIndex = 0;
  picture.setAttribute("role", "button");
  picture.addEventListener("click", () => show(picture));
  picture.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); show(picture); }
  });
}
for (const button of all("button", box)) button.addEventListener("click", acts[button.dataset.do]);
box.addEventListener("keydown", event => {
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});
box.addEventListener("close", () => shown.focus());
stage.addEventListener("wheel", event => {
  event.preventDefault();
  resize(event.deltaY < 0 ? 1.2 : 1 / 1.2);
}, { passive: false });
let from = null, moved = false;
large.addEventListener("pointerdown", event => {
  from = [event.clientX, event.clientY, stage.scrollLeft, stage.scrollTop];
  moved = false;
});
window.addEventListener("pointermove", event => {
  if (!from || event.pointerType === "touch") return;
  moved ||= Math.hypot(event.clientX - from[0], event.clientY - from[1]) > 4;
  stage.scrollTo(from[2] + from[0] - event.clientX, from[3] + from[1] - event.clientY);
});
window.addEventListener("pointerup", () => { from = null; });
large.addEventListener("click", () => { if (!moved) resize(zoom > 1 ? 1 / zoom : 2); });
stage.addEventListener("click", event => { if (event.target === stage) box.close(); });
window.addEventListener("resize", () => { if (box.open) resize(1); });

// The menu marks the section that is read.

const links = new Map(all(".menu a").map(link => [link.hash.slice(1), link]));
const parts = [...links.keys()].map(id => document.getElementById(id));
let marked = null;
function mark() {
  const edge = window.innerHeight / 3;
  const now = links.get((parts.filter(part => part.getBoundingClientRect().top < edge).pop() || parts[0]).id);
  if (now === marked) return;
  marked?.removeAttribute("aria-current");
  now.setAttribute("aria-current", "true");
  const bar = now.closest("ul");
  if (bar.scrollWidth > bar.clientWidth) bar.scrollLeft = now.offsetLeft - bar.clientWidth / 3;
  marked = now;
}
document.addEventListener("scroll", mark, { passive: true });
mark();
