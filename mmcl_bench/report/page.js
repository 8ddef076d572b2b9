"use strict";

/** Sorts the rows of every task within its table by a column, unknown values last. */
function sortBy(header) {
  const table = header.closest("table");
  const column = header.cellIndex;
  const numeric = header.dataset.sort === "number";
  const falling = header.hasAttribute("aria-sort") ? header.getAttribute("aria-sort") !== "descending" : numeric;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const order = (a, b) => (numeric ? a - b : a.localeCompare(b)) * (falling ? -1 : 1);
  const valueOf = (row) => row.cells[column].dataset.value;
  for (const body of table.querySelectorAll("tbody.rows")) {
    const rows = Array.from(body.rows);
    const known = rows.filter((row) => valueOf(row) !== "");
    const unknown = rows.filter((row) => valueOf(row) === "");
    known.sort((a, b) => order(valueOf(a), valueOf(b)));
    body.append(...known, ...unknown);
  }
}

/** Keeps heads in sight below the filters, in tables that need no scroll bar of their own; others say that they scroll. */
function keepHeads() {
  const form = document.querySelector("form.filters");
  const sticks = form && getComputedStyle(form).position === "sticky";
  document.documentElement.style.setProperty("--filters", `${sticks ? form.offsetHeight : 0}px`);
  for (const part of document.querySelectorAll(".scroll")) {
    const content = part.firstElementChild;
    const fits = content.getBoundingClientRect().width <= part.clientWidth + 1;
    part.classList.toggle("whole", fits && content.classList.contains("leaderboard"));
    part.classList.toggle("more", !fits);
  }
}

/** Shows the rows that the filters let through, and of everything else what belongs to one of these. */
function applyFilters(form) {
  const wanted = Object.fromEntries(new FormData(form));
  const passes = (row) => ["task", "method", "preset"].every((key) => !wanted[key] || row.dataset[key] === wanted[key]);
  const rows = Array.from(document.querySelectorAll("tbody.rows > tr"));
  const shown = rows.filter(passes);
  for (const row of rows) row.hidden = !passes(row);
  const tasks = new Set(shown.map((row) => row.dataset.task));
  const details = new Set(shown.map((row) => row.dataset.detail));
  for (const part of document.querySelectorAll("article, tbody.task")) part.hidden = !tasks.has(part.dataset.task);
  for (const part of document.querySelectorAll("details.run")) part.hidden = !details.has(part.id);
  for (const body of document.querySelectorAll("tbody.rows")) {
    body.hidden = Array.from(body.rows).every((row) => row.hidden);
    const heading = body.previousElementSibling;
    if (heading.classList.contains("setting")) heading.hidden = body.hidden;
  }
  for (const part of document.querySelectorAll("section.family, section.origin")) {
    part.hidden = !part.querySelector("tbody.rows > tr:not([hidden])");
  }
  form.querySelector("output").value = `${shown.length} of ${rows.length} rows`;
  keepHeads();
}

/** Writes the filters and a place of the page into the address, so that it can be sent. */
function writeAddress(form, place) {
  const chosen = new URLSearchParams(Array.from(new FormData(form)).filter(([, value]) => value));
  const named = chosen.size > 0;
  if (place && named) chosen.set("at", place);
  history.replaceState(null, "", `#${named ? chosen : place}`);
}

/** Applies the filters that the address names, and opens the details that it names. */
function readAddress() {
  const text = location.hash.slice(1);
  const named = text.includes("=");
  const said = new URLSearchParams(named ? text : {});
  const place = named ? said.get("at") ?? "" : text;  // anchors have letters, digits and hyphens alone
  const form = document.querySelector("form.filters");
  const target = document.getElementById(place);
  if (form && named) {
    for (const field of form.querySelectorAll("select")) {
      field.value = said.get(field.name) ?? "";
      if (field.selectedIndex < 0) field.value = "";
    }
    applyFilters(form);
  }
  if (form && target?.closest("[hidden]")) {
    for (const field of form.querySelectorAll("select")) field.value = "";
    applyFilters(form);
  }
  if (form && text) writeAddress(form, place);
  if (target instanceof HTMLDetailsElement) target.open = true;
  (target ?? (named ? form : null))?.scrollIntoView();
}

for (const header of document.querySelectorAll("th[data-sort]")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}
for (const form of document.querySelectorAll("form.filters")) {
  const changed = () => {
    applyFilters(form);
    writeAddress(form, "");
  };
  form.addEventListener("change", changed);
  form.addEventListener("reset", () => setTimeout(changed));
  form.hidden = false;
  applyFilters(form);
}
for (const part of document.querySelectorAll("details")) part.addEventListener("toggle", keepHeads);
addEventListener("hashchange", readAddress);
addEventListener("resize", keepHeads);
keepHeads();
readAddress();
