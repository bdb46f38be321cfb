// What a lane shows of its student's spikes: a raster that scrolls, bars, and numbers.

const COLUMN = 4; // device-independent pixels of a token

const PACE = 80; // milliseconds between two looks of the page: browsers share the engine's cores

// Paints soon after it was asked to, once for all that has come until then.
export class Pace {
  constructor(paint) {
    this.paint = paint;
  }

  ask() {
    this.timer ??= setTimeout(() => this.flush(), PACE);
  }

  flush() {
    clearTimeout(this.timer);
    this.timer = null;
    this.paint();
  }
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const short = (number) => new Intl.NumberFormat("en", {
  notation: "compact", maximumSignificantDigits: 3,
}).format(number);

export const bytes = (number) => {
  for (const [unit, scale] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (number >= scale) return `${(number / scale).toPrecision(3)} ${unit}`;
  }
  return `${number} B`;
};

const percent = (share) => `${(100 * share).toFixed(1)} %`;

export class Spikes {
  // lane: the section; about: what /v1/models says of the student
  constructor(lane, about) {
    this.about = about;
    this.canvas = lane.querySelector(".raster");
    this.legend = lane.querySelector(".legend");
    this.rows = lane.querySelector(".matrices tbody");
    this.fields = Object.fromEntries(
      [...lane.querySelectorAll("[data-of]")].map((field) => [field.dataset.of, field]));
    this.columns = 0;
    this.history = [];
    this.fresh = [];
    this.last = null;
    [this.low, this.peak] = [Infinity, 0];
    this.bars = about.matrices.map((name) => this.row(name));
    this.canvas.setAttribute("aria-label", "No token yet");
    this.size = new ResizeObserver(() => this.redraw());
    this.size.observe(this.canvas);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", () => this.redraw());
    if (!about.matrices.length) this.legend.textContent = "This student has no spikes.";
  }

  row(name) {
    const row = this.rows.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const bar = document.createElement("div");
    bar.className = "bar";
    row.append(head);
    const share = row.insertCell();
    row.insertCell().append(bar);
    return {share, bar};
  }

  // What came with a token; `paint` shows it.
  token(found, tokens, seconds) {
    if (!found) return;
    if (found.layers.length) {
      this.history.push(found.layers);
      this.fresh.push(found.layers);
      if (this.history.length > 4096) this.history.splice(0, 2048);
      this.columns += 1;
    }
    this.last = {found, tokens, seconds};
  }

  paint() {
    if (!this.last) return;
    const {found, tokens, seconds} = this.last, fresh = this.fresh;
    [this.last, this.fresh] = [null, []];
    if (fresh.length) {
      if (this.widen(fresh)) this.redraw();
      else this.scroll(fresh);
      this.canvas.dataset.columns = this.columns;
    }
    found.matrices.forEach((share, place) => {
      this.bars[place].share.textContent = percent(share);
      this.bars[place].bar.style.width = `${Math.min(100, 100 * share / (this.peak || 1))}%`;
    });
    const teacher = this.about.dense_picojoules;
    this.say("additions", short(found.additions));
    this.say("multiplications", short(found.multiplications));
    this.say("energy", `${short(found.picojoules / 1e6)} µJ; a dense teacher's `
      + `${short(teacher / 1e6)} µJ, ${(teacher / found.picojoules).toPrecision(2)} times as much`);
    if (tokens > 1) this.say("speed", `${((tokens - 1) / seconds).toFixed(1)} tokens/s`);
  }

  usage(usage) {
    const cache = usage.total_tokens * this.about.kv_bytes_per_token;
    this.say("state", `${bytes(this.about.state_bytes)}; a key-value cache of `
      + `${usage.total_tokens} tokens ${bytes(cache)}`);
    const known = usage.prompt_tokens_details.cached_tokens;
    this.say("prompt", `${usage.prompt_tokens} tokens, ${known} of them known already`);
    this.describe();
  }

  say(name, text) {
    this.fields[name].textContent = text;
  }

  describe() {
    const last = this.history.at(-1);
    if (!last) return;
    const mean = last.reduce((sum, share) => sum + share, 0) / last.length;
    const most = last.indexOf(Math.max(...last));
    const text = `${last.length} layers, ${this.columns} tokens: on average ${percent(mean)} of the `
      + `possible spikes came with the last token, most in layer ${most} with ${percent(last[most])}`;
    this.canvas.setAttribute("aria-label", text);
    this.legend.textContent = `Layer 0 at the top; colours from ${percent(this.low)} to ${percent(this.peak)}. ${text}.`;
  }

  // Moves what is there to the left and draws the new columns.
  scroll(fresh) {
    const pen = this.canvas.getContext("2d"), {width, height} = this.canvas;
    const step = Math.round(COLUMN * devicePixelRatio);
    pen.drawImage(this.canvas, -step * fresh.length, 0);
    fresh.forEach((layers, place) => {
      this.column(pen, layers, width - step * (fresh.length - place), step, height);
    });
  }

  // Whether some of these shares are outside of what the colours stand for so far.
  widen(fresh) {
    const shares = fresh.flat();
    const low = Math.min(this.low, ...shares), peak = Math.max(this.peak, ...shares);
    const wider = low < this.low || peak > this.peak;
    [this.low, this.peak] = [low, peak];
    return wider;
  }

  column(pen, layers, x, width, height) {
    pen.globalAlpha = 1;
    pen.fillStyle = this.cold;
    pen.fillRect(x, 0, width, height);
    pen.fillStyle = this.hot;
    layers.forEach((share, layer) => {
      const top = Math.floor(height * layer / layers.length);
      const bottom = Math.floor(height * (layer + 1) / layers.length);
      pen.globalAlpha = 0.05 + 0.95 * (share - this.low) / (this.peak - this.low || 1);
      pen.fillRect(x, top, Math.max(1, width - 1), Math.max(1, bottom - top - 1));
    });
    pen.globalAlpha = 1;
  }

  redraw() {
    const {canvas} = this, box = canvas.getBoundingClientRect();
    canvas.width = Math.round(box.width * devicePixelRatio);
    canvas.height = Math.round(box.height * devicePixelRatio);
    [this.cold, this.hot] = [style("--cold"), style("--hot")];
    const pen = canvas.getContext("2d"), step = Math.round(COLUMN * devicePixelRatio);
    pen.fillStyle = this.cold;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    const shown = this.history.slice(-Math.ceil(canvas.width / step));
    shown.forEach((layers, place) => {
      const x = canvas.width - (shown.length - place) * step;
      this.column(pen, layers, x, step, canvas.height);
    });
  }

  close() {
    this.size.disconnect();
  }
}
