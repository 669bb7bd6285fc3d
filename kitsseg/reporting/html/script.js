"use strict";
// Slices that can be scrolled, outlines, tables that sort, a case that lights up wherever it is shown.

const data = JSON.parse(document.getElementById("slices-data").textContent);
const root = document.documentElement;

// ---- light and dark

document.getElementById("theme").addEventListener("click", () => {
  const dark = getComputedStyle(root).getPropertyValue("color-scheme").trim() === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
});

// ---- slices

// Class ids of a slice from their runs: length * 4 + class, in groups of 7 bits, lowest first.
function decode(text, size) {
  const mask = new Uint8Array(size);
  const bytes = atob(text);
  let value = 0, shift = 0, at = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes.charCodeAt(i);
    value += (byte & 127) * 2 ** shift;
    shift += 7;
    if (byte < 128) {
      mask.fill(value % 4, at, at += Math.floor(value / 4));
      value = shift = 0;
    }
  }
  return mask;
}

// A path along the pixel edges between classes from `least` on and the others.
function outline(mask, width, height, least) {
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] >= least;
  let path = "";
  const walk = (lines, length, differs, form) => {
    for (let line = 0; line <= lines; line++) {
      for (let from = 0; from < length; from++) {
        if (!differs(line, from)) continue;
        let to = from;
        while (to < length && differs(line, to)) to++;
        path += form(line, from, to);
        from = to;
      }
    }
  };
  walk(height, width, (y, x) => inside(x, y - 1) !== inside(x, y), (y, a, b) => `M${a} ${y}H${b}`);
  walk(width, height, (x, y) => inside(x - 1, y) !== inside(x, y), (x, a, b) => `M${x} ${a}V${b}`);
  return path;
}

function setUp(figure, view) {
  const image = figure.querySelector("img");
  const slider = figure.querySelector("input[type=range]");
  const place = figure.querySelector("output");
  const stage = figure.querySelector(".stage");
  const show = () => {
    const at = Number(slider.value);
    const text = `slice ${view.z[at]}`;
    image.src = data.images[view.images[at]];
    image.alt = `${figure.dataset.case}, ${text}, with the outlines of the labels`;
    place.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    for (const [name, slices] of Object.entries(view.masks)) {
      const mask = decode(slices[at], view.width * view.height);
      for (const [region, least] of [["kidney", 1], ["tumour", 2]]) {
        const path = figure.querySelector(`.outline.${name}.${region}`);
        path.setAttribute("d", outline(mask, view.width, view.height, least));
      }
    }
  };
  slider.addEventListener("input", show);
  slider.setAttribute("aria-valuetext", place.textContent);
  stage.addEventListener("click", () => slider.focus());
  // The wheel belongs to the page until a case has been chosen.
  stage.addEventListener("wheel", (event) => {
    if (document.activeElement !== slider) return;
    event.preventDefault();
    slider.value = Number(slider.value) + Math.sign(event.deltaY);
    show();
  }, { passive: false });
  const larger = figure.querySelector(".larger");
  larger.setAttribute("aria-pressed", "false");
  larger.addEventListener("click", () => {
    larger.setAttribute("aria-pressed", String(figure.classList.toggle("large")));
  });
}

for (const [name, view] of Object.entries(data.viewers ?? {})) {
  setUp(document.getElementById(name), view);
}
for (const box of document.querySelectorAll("#outlines input")) {
  const apply = () => document.body.classList.toggle(`hide-${box.value}`, !box.checked);
  box.addEventListener("change", apply);
  apply();
}

// ---- the same case everywhere

let lit = [];
function light(name) {
  for (const each of lit) each.classList.remove("hit");
  lit = name ? [...document.querySelectorAll(`[data-case="${CSS.escape(name)}"]`)] : [];
  for (const each of lit) each.classList.add("hit");
}
document.addEventListener("pointerover", (event) => {
  const found = event.target.closest?.("[data-case]");
  light(found && !found.classList.contains("viewer") ? found.dataset.case : null);
});

// ---- tables that sort

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].textContent;
      const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      const rows = [...table.tBodies[0].rows].sort(order);
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    });
  });
  for (const row of table.tBodies[0].rows) row.dataset.case = row.cells[0].textContent;
}
