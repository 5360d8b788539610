"use strict";
(() => {
  const records = JSON.parse(document.getElementById("records").textContent);
  const root = document.documentElement;
  const style = name => getComputedStyle(root).getPropertyValue(name).trim();
  const plots = new Map(); // element -> {view, log}

  // What leaves the page is dark on white, whatever the page is.
  const PAPER = { "--ink": "#1d1d21", "--soft": "#55555f", "--line": "#d9d9e0" };
  const here = name => style(name), paper = name => PAPER[name];

  // In the colors that are asked for; drag and wheel zoom where there is a mouse.
  function prepared(id, log, big, wide, color) {
    const zoom = big ? "wheel!" : matchMedia("(pointer: fine)").matches && "wheel![event.shiftKey]";
    const spec = JSON.stringify(chartOf(records[id], log, wide, big && Math.max(260, innerHeight * .6), zoom));
    return JSON.parse(spec.replaceAll('"@ink"', `"${color("--ink")}"`).replaceAll('"@soft"', `"${color("--soft")}"`));
  }

  function config(color) {
    const ink = color("--ink"), soft = color("--soft"), line = color("--line");
    const title = { titleColor: ink, titleFontWeight: "normal", labelColor: soft };
    return {
      font: "system-ui, sans-serif", background: color === paper ? "white" : null, view: { stroke: line },
      axis: { ...title, gridColor: line, domainColor: soft, tickColor: soft, gridOpacity: .6, labelFontSize: 11, titleFontSize: 12 },
      legend: { ...title, labelColor: ink, labelFontSize: 11, symbolStrokeWidth: 2, rowPadding: 1 },
    };
  }

  async function draw(box, id, log, big) {
    const old = plots.get(box);
    if (old) old.view.finalize();
    box.replaceChildren();
    const inner = box.appendChild(document.createElement("div"));
    const { view } = await vegaEmbed(inner, prepared(id, log, big, box.clientWidth, here), { renderer: "svg", actions: false, ast: true, config: config(here), tooltip: { theme: dark() ? "dark" : "light" } });
    plots.set(box, { view, log });
    box.style.minHeight = "0";
    box.dataset.drawn = "";
    return view;
  }

  function tools(box, id) {
    const bar = document.createElement("div");
    bar.className = "tools";
    bar.role = "group";
    bar.setAttribute("aria-label", "Tools of this chart");
    const title = box.parentElement.querySelector("figcaption").textContent;
    const file = `ntkgap-${id}`.replace(/[^\w-]+/g, "-");
    const actions = {
      "log / linear": async () => draw(box, id, !isLog(box, id)),
      "enlarge": () => enlarge(id, title, isLog(box, id)),
      "data": () => table(id, title),
      "CSV": () => save(`${file}.csv`, new Blob(["\ufeff", records[id].csv], { type: "text/csv" })),
      "SVG": () => onPaper(box, id, async view => save(`${file}.svg`, new Blob([await view.toSVG()], { type: "image/svg+xml" }))),
      "PNG": () => onPaper(box, id, async view => saveUrl(`${file}.png`, await view.toImageURL("png", 3))),
    };
    for (const [name, run] of Object.entries(actions)) {
      if (name === "log / linear" && !records[id].may_log) continue;
      const button = bar.appendChild(document.createElement("button"));
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", run);
    }
    box.after(bar);
  }

  async function onPaper(box, id, use) {
    const sheet = document.body.appendChild(document.createElement("div"));
    sheet.style.cssText = `position: fixed; left: -200vw; width: ${Math.max(box.clientWidth, 460)}px`;
    const inner = sheet.appendChild(document.createElement("div"));
    const spec = prepared(id, isLog(box, id), false, sheet.clientWidth, paper);
    const { view } = await vegaEmbed(inner, spec, { renderer: "svg", actions: false, ast: true, config: config(paper), tooltip: false });
    await use(view);
    view.finalize();
    sheet.remove();
  }

  const isLog = (box, id) => plots.get(box).log;

  function save(name, blob) {
    const url = URL.createObjectURL(blob);
    saveUrl(name, url);
    setTimeout(() => URL.revokeObjectURL(url), 5000);
  }

  function saveUrl(name, url) {
    const link = document.createElement("a");
    link.download = name;
    link.href = url;
    link.click();
  }

  const dialog = document.getElementById("big"), inside = dialog.querySelector("div");
  function open(title) {
    const heading = document.createElement("h3");
    heading.textContent = title;
    inside.replaceChildren(heading);
    dialog.showModal();
    return inside;
  }

  async function enlarge(id, title, log) {
    const box = open(title).appendChild(document.createElement("div"));
    box.className = "chart";
    await draw(box, id, log, true);
    const note = inside.appendChild(document.createElement("p"));
    note.className = "note";
    note.textContent = "Wheel: zoom; drag: move; double click: back.";
  }

  function table(id, title) {
    const box = open(title).appendChild(document.createElement("div"));
    box.className = "scroll";
    const grid = box.appendChild(document.createElement("table"));
    grid.className = "numbers listed";
    const rows = chartOf.rows(records[id].csv), head = grid.createTHead().insertRow(), body = grid.createTBody();
    for (const name of Object.keys(rows[0] ?? {})) head.appendChild(document.createElement("th")).textContent = name;
    for (const row of rows) {
      const line = body.insertRow();
      for (const value of Object.values(row)) line.insertCell().textContent = value ?? "";
    }
  }

  // Charts are drawn when they come near the window.
  const seen = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) { seen.unobserve(target); start(target); }
  }, { rootMargin: "400px" });
  async function start(box) {
    if (plots.has(box) || box.dataset.started) return;
    box.dataset.started = "";
    await draw(box, box.dataset.chart, records[box.dataset.chart].y_log);
    tools(box, box.dataset.chart);
  }
  const charts = [...document.querySelectorAll(".chart")];
  charts.forEach(box => seen.observe(box));

  // Links lead into folded sections.
  function unfold() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    const contents = document.querySelector(".bar details");
    if (contents) contents.open = false;
    target.scrollIntoView();
  }
  addEventListener("hashchange", unfold);
  document.addEventListener("click", event => { // also where the address stays the same
    const link = event.target.closest && event.target.closest('a[href^="#"]');
    if (link && link.getAttribute("href") === location.hash) unfold();
  });
  document.addEventListener("toggle", event => { // the address of what is open
    const part = event.target;
    if (part.open && part.id && part.matches("details.part") && part.querySelector("summary:focus")) history.replaceState(null, "", `#${part.id}`);
  }, true);
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") document.querySelector(".bar details").open = false;
  });
  unfold();

  // Dark and light.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const redraw = () => plots.forEach(({ log }, box) => box.isConnected && draw(box, box.dataset.chart, log));
  system.addEventListener("change", redraw);
  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; redraw(); });

  // All open, for searching and for paper.
  const parts = () => document.querySelectorAll("main details");
  const all = document.getElementById("unfold");
  all.hidden = false;
  all.addEventListener("click", () => {
    const open = all.textContent === "open all";
    parts().forEach(part => { part.open = open; });
    all.textContent = open ? "close all" : "open all";
  });
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...parts()].filter(part => !part.open);
    folded.forEach(part => { part.open = true; });
    charts.forEach(start); // what was never in view; drawing waits for nothing but itself, and is done before paper is
  });
  addEventListener("afterprint", () => folded.forEach(part => { part.open = false; }));
})();
