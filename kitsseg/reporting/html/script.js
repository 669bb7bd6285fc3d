"use strict";
// Slice viewers, outlines, sortable tables, and highlighting of one case in all plots.

const data = JSON.parse(document.getElementById("slices-data").textContent);
const root = document.documentElement;

// ---- colour theme

document.getElementById("theme").addEventListener("click", () => {
  const dark = getComputedStyle(root).getPropertyValue("color-scheme").trim() === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
});

// ---- slices

// Return the class ids of a slice; the inverse of encode_mask in slices.py.
function decodeMask(text, size) {
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

// Return an SVG path along the pixel edges of the region with class ids of at lowest `lowest`.
function outlinePath(mask, width, height, lowest) {
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] >= lowest;
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

function setUpViewer(figure, view) {
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
      const mask = decodeMask(slices[at], view.width * view.height);
      for (const [region, lowest] of [["kidney", 1], ["tumour", 2]]) {
        const path = figure.querySelector(`.outline.${name}.${region}`);
        path.setAttribute("d", outlinePath(mask, view.width, view.height, lowest));
      }
    }
  };
  slider.addEventListener("input", show);
  slider.setAttribute("aria-valuetext", place.textContent);
  stage.addEventListener("click", () => slider.focus());
  // The wheel scrolls the page until the viewer has the focus.
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
  setUpViewer(document.getElementById(name), view);
}
for (const box of document.querySelectorAll("#outlines input")) {
  const apply = () => document.body.classList.toggle(`hide-${box.value}`, !box.checked);
  box.addEventListener("change", apply);
  apply();
}

// ---- highlighting of one case

let highlighted = [];
function highlight(name) {
  for (const element of highlighted) element.classList.remove("hit");
  highlighted = name ? [...document.querySelectorAll(`[data-case="${CSS.escape(name)}"]`)] : [];
  for (const element of highlighted) element.classList.add("hit");
}
document.addEventListener("pointerover", (event) => {
  const found = event.target.closest?.("[data-case]");
  highlight(found && !found.classList.contains("viewer") ? found.dataset.case : null);
});

// ---- sortable tables

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => row.cells[column].textContent;
      const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      const rows = [...table.tBodies[0].rows].sort(order);
      table.tBodies[0].append(...(descending ? rows.reverse() : rows));
    });
  });
  for (const row of table.tBodies[0].rows) row.dataset.case = row.cells[0].textContent;
}
