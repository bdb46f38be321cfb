"use strict";
// Every figure names a chart of the data; it is drawn as SVG, in colours of the style sheet.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const colour = (n) => `var(--c${n % 7})`;
  const WIDE = 420, HIGH = 230, LEFT = 52, RIGHT = 10, TOP = 10, LOW = 34;

  function make(parent, name, attributes = {}, text = "") {
    const it = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) it.setAttribute(key, value);
    if (text) it.textContent = text;
    parent.append(it);
    return it;
  }

  function short(value) {
    if (value === null || value === undefined) return "";
    const size = Math.abs(value);
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
    return size && size < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(4));
  }

  function scale(low, high, from, to, log) {
    const f = log ? Math.log : (x) => x;
    if (f(low) === f(high)) high = log ? low * 2 : low + 1;
    const place = (x) => from + ((f(x) - f(low)) / (f(high) - f(low))) * (to - from);
    return { place, low, high, log };
  }

  function ticks({ low, high, log }, count = 4) {
    if (log) {
      const found = [];
      for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
        for (const m of [1, 2, 5]) found.push(m * 10 ** e);
      const inside = found.filter((x) => x >= low * 0.999 && x <= high * 1.001);
      if (inside.length < 3) return ticks({ low, high, log: false }, count);
      return inside.length > 6 ? inside.filter((_, n) => n % Math.ceil(inside.length / 5) === 0) : inside;
    }
    const raw = (high - low) / count, unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw);
    const found = [];
    for (let x = Math.ceil(low / step) * step; x <= high + step / 1e6; x += step) found.push(+x.toPrecision(8));
    return found;
  }

  function axes(svg, x, y, label) {
    for (const at of ticks(y)) {
      make(svg, "line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y.place(at), y2: y.place(at) });
      make(svg, "text", { x: LEFT - 5, y: y.place(at) + 4, "text-anchor": "end" }, short(at));
    }
    if (x) for (const at of ticks(x))
      make(svg, "text", { x: x.place(at), y: HIGH - LOW + 15, "text-anchor": "middle" }, short(at));
    make(svg, "text", { x: WIDE - RIGHT, y: HIGH - 4, "text-anchor": "end" }, label);
  }

  function tip(figure) {
    const box = document.createElement("div");
    box.className = "tip";
    box.hidden = true;
    figure.append(box);
    return (event, text) => {
      box.hidden = !text;
      if (!text) return;
      box.textContent = text;
      const room = figure.getBoundingClientRect();
      const right = event.clientX - room.left > room.width / 2;
      box.style.left = right ? "" : `${event.clientX - room.left + 12}px`;
      box.style.right = right ? `${room.right - event.clientX + 12}px` : "";
      box.style.top = `${event.clientY - room.top}px`;
    };
  }

  function keys(figure, names) {
    const box = document.createElement("div");
    box.className = "keys";
    names.forEach((name, n) => {
      const key = document.createElement("span"), dot = document.createElement("i");
      dot.style.background = colour(n);
      key.append(dot, name);
      box.append(key);
    });
    figure.append(box);
  }

  function within(svg, event) {
    const room = svg.getBoundingClientRect();
    return [((event.clientX - room.left) / room.width) * WIDE,
            ((event.clientY - room.top) / room.height) * svg.viewBox.baseVal.height];
  }

  function lines(figure, svg, chart) {
    const all = chart.series.flatMap((s) => s.points);
    const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
    const low = chart.log ? Math.min(...ys) : Math.min(0, ...ys);
    const x = scale(Math.min(...xs), Math.max(...xs), LEFT, WIDE - RIGHT, chart.logX);
    const y = scale(low, chart.top ?? Math.max(...ys), HIGH - LOW, TOP, chart.log);
    axes(svg, x, y, chart.x);
    for (const mark of chart.marks) {
      if (mark.x < x.low || mark.x > x.high) continue;
      make(svg, "line", { class: "grid", x1: x.place(mark.x), x2: x.place(mark.x), y1: TOP, y2: HIGH - LOW, "stroke-dasharray": "2 3" });
      const late = x.place(mark.x) > WIDE * 0.75;
      make(svg, "text", { x: x.place(mark.x) + (late ? -3 : 3), y: TOP + 8, "text-anchor": late ? "end" : "start" }, mark.label);
    }
    chart.series.forEach((series, n) => {
      const path = series.points.map(([a, b], i) => `${i ? "L" : "M"}${x.place(a).toFixed(1)} ${y.place(b).toFixed(1)}`).join("");
      make(svg, "path", { d: path, fill: "none", style: `stroke:${colour(n)}`, "stroke-width": 1.6, ...(series.dashed && { "stroke-dasharray": "6 4" }) });
      if (series.points.length < 24) for (const [a, b] of series.points)
        make(svg, "circle", { cx: x.place(a), cy: y.place(b), r: 2.6, style: `fill:${colour(n)}` });
    });
    const cross = make(svg, "line", { class: "grid", y1: TOP, y2: HIGH - LOW, visibility: "hidden" });
    const say = tip(figure);
    svg.addEventListener("pointermove", (event) => {
      const [at] = within(svg, event);
      const near = all.reduce((a, b) => (Math.abs(x.place(b[0]) - at) < Math.abs(x.place(a[0]) - at) ? b : a))[0];
      cross.setAttribute("x1", x.place(near));
      cross.setAttribute("x2", x.place(near));
      cross.setAttribute("visibility", "visible");
      const said = chart.series.map((s) => {
        const point = s.dashed ? s.points[0] : s.points.find((p) => p[0] === near);
        return point ? `${s.name}  ${short(point[1])}` : "";
      });
      say(event, [`${short(near)} ${chart.x}`, ...said.filter(Boolean)].join("\n"));
    });
    svg.addEventListener("pointerleave", () => { cross.setAttribute("visibility", "hidden"); say(null, ""); });
    keys(figure, chart.series.map((s) => s.name));
  }

  function bars(figure, svg, chart) {
    const all = chart.groups.flatMap((g) => g.bars);
    const names = [...new Set(all.map((b) => b.name))];
    const y = scale(0, Math.max(...all.map((b) => b.value + (b.error ?? 0))), HIGH - LOW, TOP, false);
    axes(svg, null, y, chart.y);
    const wide = (WIDE - RIGHT - LEFT) / chart.groups.length, say = tip(figure);
    chart.groups.forEach((group, g) => {
      const each = (wide * 0.8) / group.bars.length, left = LEFT + g * wide + wide * 0.1;
      group.bars.forEach((bar, n) => {
        const middle = left + (n + 0.5) * each, top = y.place(bar.value);
        const it = make(svg, "rect", { x: left + n * each, width: each * 0.92, y: top, height: Math.max(0, HIGH - LOW - top), style: `fill:${colour(names.indexOf(bar.name))}` });
        if (bar.error) make(svg, "line", { x1: middle, x2: middle, y1: y.place(bar.value - bar.error), y2: y.place(bar.value + bar.error), style: "stroke:var(--ink)" });
        it.addEventListener("pointermove", (event) => say(event, `${group.name}\n${bar.name}  ${short(bar.value)}${bar.error ? ` ± ${short(bar.error)}` : ""}`));
        it.addEventListener("pointerleave", () => say(null, ""));
      });
      const tilt = chart.groups.length > 5;
      const at = { x: left + wide * 0.4, y: HIGH - LOW + 13, "text-anchor": tilt ? "end" : "middle" };
      if (tilt) at.transform = `rotate(-20 ${at.x} ${at.y})`;
      make(svg, "text", at, group.name);
    });
    if (names.length > 1) keys(figure, names);
  }

  function table(figure, svg, chart, { rows, shade, said, gap }) {
    const wide = (WIDE - RIGHT - LEFT) / chart.columns.length;
    const high = Math.max(4, Math.min(18, 420 / rows.length)), bottom = TOP + high * rows.length;
    svg.setAttribute("viewBox", `0 0 ${WIDE} ${bottom + 60}`);
    const skip = Math.ceil(11 / high);
    rows.forEach((name, r) => {
      if (r % skip === 0) make(svg, "text", { x: LEFT - 5, y: TOP + high * r + Math.min(high, 11), "text-anchor": "end" }, name);
      chart.cells[r].forEach((value, c) => make(svg, "rect", { x: LEFT + c * wide, y: TOP + r * high, width: wide - gap, height: high - gap, style: `fill:${shade(value)}` }));
    });
    chart.columns.forEach((name, c) => {
      const at = { x: LEFT + (c + 0.6) * wide, y: bottom + 10, "text-anchor": "end" };
      make(svg, "text", { ...at, transform: `rotate(-40 ${at.x} ${at.y})` }, name.trim().slice(0, 14));
    });
    const say = tip(figure);
    svg.addEventListener("pointermove", (event) => {
      const [a, b] = within(svg, event);
      const c = Math.floor((a - LEFT) / wide), r = Math.floor((b - TOP) / high);
      say(event, chart.cells[r]?.[c] === undefined ? "" : said(r, c, chart.cells[r][c]));
    });
    svg.addEventListener("pointerleave", () => say(null, ""));
  }

  function heat(figure, svg, chart) {
    const all = chart.cells.flat().filter((v) => v !== null);
    const low = Math.min(0, ...all), high = Math.max(...all);
    const share = (v) => Math.round(100 * (v - low) / (high - low || 1));
    table(figure, svg, chart, {
      rows: chart.rows, gap: 1,
      shade: (v) => (v === null ? "none" : `color-mix(in srgb, var(--hot) ${share(v)}%, var(--cold))`),
      said: (r, c, v) => `${chart.columns[c]}, ${chart.rows[r]}: ${v === null ? "none" : short(v)}`,
    });
    const box = document.createElement("div");
    box.className = "keys";
    box.textContent = `${short(low)} (pale) to ${short(high)} (strong)`;
    figure.append(box);
  }

  function raster(figure, svg, chart) {
    const top = Math.max(1, ...chart.cells.flat().map(Math.abs));
    table(figure, svg, chart, {
      rows: chart.cells.map((_, n) => String(n)), gap: 0.5,
      shade: (v) => `color-mix(in srgb, var(${v < 0 ? "--down" : "--hot"}) ${Math.round((100 * Math.abs(v)) / top)}%, var(--cold))`,
      said: (r, c, v) => `channel ${r}, "${chart.columns[c]}": ${v}`,
    });
  }

  const kinds = { lines, bars, heat, raster };
  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const chart = data[figure.dataset.chart];
    const svg = make(figure, "svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": chart.title });
    kinds[chart.kind](figure, svg, chart);
  }
})();
