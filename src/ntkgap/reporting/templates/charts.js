"use strict";
// From what a panel shows (reporting/charts/panel.py) to Vega-Lite.
const chartOf = (() => {
  // The table of a panel as objects; d3's own reader writes code, which the page does not allow.
  function rows(csv) {
    const lines = [[""]];
    for (const [, text, end] of csv.matchAll(/("(?:[^"]|"")*"|[^",\n]*)([,\n]|$)/g)) {
      lines.at(-1)[lines.at(-1).length - 1] = text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text;
      if (end === ",") lines.at(-1).push("");
      else if (end === "\n") lines.push([""]);
    }
    const [names, ...found] = lines.filter(line => line.length > 1);
    const value = (name, text) => name === "series" ? text : text === "" ? null : +text;
    return found.map(line => Object.fromEntries(line.map((text, i) => [names[i], value(names[i], text)])));
  }

  // d3's own labels are as short as the step between ticks: 10 would be 1e+1.
  const labelExpr = "datum.value != 0 && (abs(datum.value) < 1e-3 || abs(datum.value) >= 1e5) ? format(datum.value, '~e') : format(datum.value, '~g')";
  const number = (field, title, format) => ({ field, type: "quantitative", title, format });

  function panel(record, log, wide, height, zoom) {
    const names = [], colors = [], dashes = [];
    for (const [name, color, dash] of [...record.series, ...record.rules.map(([n, , d]) => [n, "@ink", d])]) {
      if (name) { names.push(name); colors.push(color); dashes.push(dash.length ? dash : [1, 0]); }
    }
    const nominal = range => ({ field: "series", type: "nominal", title: null, scale: { domain: names, range } });
    const legend = { orient: "bottom", columns: Math.max(1, Math.floor(wide / (8.5 * Math.max(...names.map(name => name.length)) + 20))), labelLimit: 420, symbolType: "stroke", symbolSize: 250, symbolOpacity: 1, offset: 6 };
    const color = { ...nominal(colors), legend }, strokeDash = nominal(dashes);
    const x = { field: "x", type: "quantitative", title: record.x, scale: xScale(record), axis: { labelExpr, labelOverlap: "greedy", grid: false, ...(record.ticks.length && { values: record.ticks }) } };
    const y = { field: "y", type: "quantitative", title: record.y, scale: yScale(record, log), axis: { labelExpr, labelOverlap: "greedy", tickCount: 6 } };
    const only = (test, more = []) => {
      const oneOf = record.series.filter(test).map(([name]) => name);
      return oneOf.length && [{ filter: { field: "series", oneOf } }, ...more];
    };
    const across = (channel, axis, at) => ({ [channel]: { datum: at, type: "quantitative", title: axis.title, scale: axis.scale } });
    const layer = [];
    const level = record.rules.find(rule => !rule[3]);
    if (record.holds && level) layer.push({
      data: { values: [{}] }, mark: { type: "rect", color: "#0072b2", opacity: .08, clip: true, tooltip: null },
      encoding: { x: { value: 0 }, x2: { value: "width" }, ...across("y", y, level[1]), y2: { value: record.holds === "below" ? "height" : 0 } },
    });
    const isLine = kind => kind === "line" || kind === "marked";
    let transform = only(([, , , kind, ends]) => isLine(kind) && ends, [{ filter: "isValid(datum.low) && isValid(datum.high)" }]);
    if (transform) layer.push({ transform, mark: { type: "area", opacity: .18, clip: true, tooltip: null }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" }, color } });
    for (const [name, at, dash, vertical] of record.rules) layer.push({
      data: { values: [{}] }, mark: { type: "rule", strokeDash: dash, strokeWidth: 1.3, clip: true, tooltip: null, ...(!name && { color: "@ink" }) },
      encoding: { ...(vertical ? across("x", x, at) : across("y", y, at)), ...(name && { color: { datum: name, type: "nominal", title: null, scale: color.scale, legend } }) },
    });
    transform = only(([, , , kind]) => isLine(kind));
    if (transform) layer.push({ transform, mark: { type: "line", strokeWidth: 1.9, clip: true, tooltip: null }, encoding: { x, y, color, strokeDash } });
    for (const [kind, size, opacity] of [["seeds", 14, .45], ["points", 36, .9], ["marked", 42, 1], ["line", 90, 0]]) {
      transform = only(series => series[3] === kind);
      if (!transform) continue;
      const ends = record.series.some(series => series[3] === kind && series[4]);
      const tooltip = [{ field: "series", type: "nominal", title: "series" }, number("x", record.x, "~g"), number("y", record.y, ".4~g"), ...(ends ? [number("low", "low", ".4~g"), number("high", "high", ".4~g")] : [])];
      layer.push({ transform, mark: { type: "point", filled: true, clip: true, size, opacity }, encoding: { x, y, color, tooltip } });
    }
    if (zoom && layer.length) layer.at(-1).params = [{ name: "grid", select: { type: "interval", zoom }, bind: "scales" }];
    return { height: height || 230, data: { values: rows(record.csv) }, layer };
  }

  // Room at both ends, so that marks are not cut.
  function xScale({ x_log, csv, rules }) {
    const places = [...rows(csv).map(row => row.x), ...rules.filter(rule => rule[3]).map(rule => rule[1])];
    const low = Math.min(...places), high = Math.max(...places);
    const scale = { type: x_log ? "log" : "linear", nice: false };
    if (!(low < high)) return scale;
    const room = x_log ? (high / low) ** .04 : 0;
    return { ...scale, domain: x_log ? [low / room, high * room] : [low, high] };
  }

  // Numbers that cannot be negative have no negative axis: zero where it is near, else just below the least.
  function yScale({ range }, log) {
    if (range) return { type: "linear", domain: range, nice: false };
    return log ? { type: "log", nice: false, padding: 10 } : { type: "linear", zero: false, nice: true };
  }

  function matrix(record, height) {
    const percent = "percent";
    return {
      height: height || 30 * record.matrix,
      data: { values: rows(record.csv) },
      encoding: { x: { field: "column", type: "ordinal", title: record.x, axis: { labelAngle: 0 } }, y: { field: "row", type: "ordinal", title: record.y } },
      layer: [
        { mark: { type: "rect" }, encoding: { color: { field: percent, type: "quantitative", scale: { domain: [0, 100], scheme: "blues" }, legend: null }, tooltip: ["row", "column", percent].map(name => ({ field: name, type: "quantitative" })) } },
        { transform: [{ filter: "isValid(datum.percent)" }], mark: { type: "text", fontSize: 11, tooltip: null }, encoding: { text: { field: percent, type: "quantitative", format: ".0f" }, color: { condition: { test: "datum.percent > 60", value: "white" }, value: "#22222a" } } },
      ],
    };
  }

  const chart = (record, log, wide, height, zoom) => ({
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    width: "container", autosize: { type: "fit-x", contains: "padding" },
    ...(record.matrix ? matrix(record, height) : panel(record, log, wide, height, zoom)),
  });
  return Object.assign(chart, { rows });
})();
