// Names for the search and the copy buttons of a page, and keyboard access to wide tables and code.
document$.subscribe(() => {
  document.querySelector(".md-search").setAttribute("aria-label", "Search");
  document
    .querySelectorAll(".md-code__nav")
    .forEach((nav, i) => nav.setAttribute("aria-label", `Code ${i + 1}`));
  document
    .querySelectorAll(".md-typeset__scrollwrap, .highlight-ipynb")
    .forEach((element) => element.setAttribute("tabindex", "0"));
});
