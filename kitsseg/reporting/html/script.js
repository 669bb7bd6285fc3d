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
    for (const [name, path] of Object.entries(view.outlines[at])) {
      figure.querySelector(`.outline.${name}`).setAttribute("d", path);
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

// ---- sources of numbers: open the folded element that a link leads to

function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  const folded = target?.closest("details");
  if (!folded) return;
  folded.open = true;
  target.scrollIntoView();
}
window.addEventListener("hashchange", openTarget);
openTarget();

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
