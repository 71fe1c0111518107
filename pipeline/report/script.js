"use strict";
(() => {
  const table = document.querySelector(".videos"), body = table.tBodies[0], rows = [...body.rows];
  const controls = document.querySelector(".controls"), search = controls.querySelector("input[type=search]");
  const boxes = [...controls.querySelectorAll("input[type=checkbox]")], count = controls.querySelector(".count");
  const heads = [...table.tHead.querySelectorAll("th[data-key]")];
  const state = new URLSearchParams(location.hash.startsWith("#v") ? "" : location.hash.slice(1));

  const value = (row, key) => {
    const text = row.dataset[key];
    return key === "name" || key === "status" ? text : text === "" ? -Infinity : Number(text);
  };
  const sort = (key, down) => {
    rows.sort((a, b) => {
      const x = value(a, key), y = value(b, key);
      return (typeof x === "string" ? x.localeCompare(y) : x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    });
    body.append(...rows);
    for (const head of heads) head.setAttribute("aria-sort", head.dataset.key !== key ? "none" : down ? "descending" : "ascending");
  };
  const filter = () => {
    const words = search.value.toLowerCase(), wanted = new Set(boxes.filter(b => b.checked).map(b => b.value));
    let shown = 0;
    for (const row of rows) {
      row.hidden = !wanted.has(row.dataset.status) || !row.dataset.name.toLowerCase().includes(words);
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  const keep = (key, text) => {
    if (text) state.set(key, text); else state.delete(key);
    history.replaceState(null, "", "#" + state);
  };
  const choose = head => {
    const key = head.dataset.key, down = head.getAttribute("aria-sort") === "none" ? key !== "name" && key !== "status"
      : head.getAttribute("aria-sort") === "ascending";
    sort(key, down);
    keep("sort", (down ? "-" : "") + key);
  };
  for (const head of heads) {
    head.tabIndex = 0;
    head.setAttribute("aria-sort", "none");
    head.addEventListener("click", () => choose(head));
    head.addEventListener("keydown", event => { if (event.key === "Enter") choose(head); });
  }
  search.value = state.get("q") || "";
  search.addEventListener("input", () => { filter(); keep("q", search.value); });
  const hidden = (state.get("hide") || "").split(",");
  for (const box of boxes) {
    box.checked = !hidden.includes(box.value);
    box.addEventListener("change", () => { filter(); keep("hide", boxes.filter(b => !b.checked).map(b => b.value).join(",")); });
  }
  document.documentElement.classList.add("js");
  controls.hidden = false;
  const order = state.get("sort") || "";
  if (heads.some(head => head.dataset.key === order.replace("-", ""))) sort(order.replace("-", ""), order.startsWith("-"));
  filter();
})();
