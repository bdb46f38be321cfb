// The chat: one lane for each student, one question to all of them.

import {Pace, Spikes} from "./spikes.js";

const by = (id) => document.getElementById(id);
const SLIDERS = ["temperature", "top_p", "min_p", "top_k", "repetition_penalty", "max_tokens"];

let students = [], lanes = [], stopper = null;

const headers = () => {
  const key = by("key").value.trim();
  return {"Content-Type": "application/json", ...(key && {Authorization: `Bearer ${key}`})};
};

async function failure(response) {
  const body = await response.json().catch(() => ({}));
  return new Error(body.error?.message ?? `the server answered ${response.status}`);
}

// The events of a stream, each as an object.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const text = part.replace(/^data: /, "");
      if (text !== "[DONE]") yield JSON.parse(text);
    }
  }
}

function settings() {
  const found = Object.fromEntries(SLIDERS.map((name) => [name, Number(by(name).value)]));
  if (by("seed").value) found.seed = Number(by("seed").value);
  return {...found, stream: true, spikes: true, stream_options: {include_usage: true}};
}

class Lane {
  constructor(student) {
    this.student = student;
    this.section = by("lane").content.cloneNode(true).firstElementChild;
    this.section.querySelector("h2").textContent = student.id;
    this.log = this.section.querySelector(".chat");
    this.log.setAttribute("aria-label", `Conversation with ${student.id}`);
    by("lanes").append(this.section);
    this.spikes = new Spikes(this.section, student.asnn_goose);
    this.turns = [];
  }

  // A turn on the page; what a person said can be gone back to.
  show(role, text) {
    const turn = document.createElement("div"), who = document.createElement("b");
    const words = document.createElement("span");
    turn.className = `turn ${role}`;
    who.textContent = role === "user" ? "You" : this.student.id;
    words.textContent = text;
    if (role === "user") {
      const back = document.createElement("button");
      back.type = "button";
      back.textContent = "Go back here";
      const place = this.turns.length;
      back.addEventListener("click", () => rewind(place));
      turn.append(back);
    }
    turn.append(who, words);
    this.log.append(turn);
    this.log.scrollTop = this.log.scrollHeight;
    this.turns.push({role, turn, words});
    return words;
  }

  rewind(place) {
    this.turns.splice(place).forEach(({turn}) => turn.remove());
  }

  get messages() {
    return this.turns.map(({role, words}) => ({role, content: words.textContent}));
  }

  request() {
    const system = by("system").value.trim();
    const before = system ? [{role: "system", content: system}] : [];
    const common = {model: this.student.id, ...settings()};
    if (this.student.asnn_goose.chat) {
      return ["v1/chat/completions", {...common, messages: [...before, ...this.messages]}];
    }
    const prompt = [...before, ...this.messages].map(({content}) => content).join("\n");
    return ["v1/completions", {...common, prompt}];
  }

  async answer(signal) {
    const [path, body] = this.request();
    const words = this.show("assistant", "");
    this.log.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(
        path, {method: "POST", headers: headers(), body: JSON.stringify(body), signal});
      if (!response.ok) throw await failure(response);
      await this.read(response, words);
    } catch (error) {
      if (error.name !== "AbortError") {
        this.turns.at(-1).turn.classList.add("error");
        words.textContent += error.message;
      }
    } finally {
      this.log.setAttribute("aria-busy", "false");
      this.spikes.describe();
    }
  }

  async read(response, words) {
    let tokens = 0, begun = 0, said = "";
    const pace = new Pace(() => {
      words.append(said);
      said = "";
      this.spikes.paint();
      this.log.scrollTop = this.log.scrollHeight;
    });
    try {
      for await (const event of events(response)) {
        if (event.error) throw new Error(event.error.message);
        if (event.usage) this.spikes.usage(event.usage);
        for (const choice of event.choices) {
          said += choice.delta?.content ?? choice.text ?? "";
          if (!choice.spikes) continue;
          tokens += 1;
          begun ||= performance.now();
          this.spikes.token(choice.spikes, tokens, (performance.now() - begun) / 1000);
        }
        pace.ask();
      }
    } finally {
      pace.flush();
    }
    words.normalize();
  }
}

function rewind(place) {
  stopper?.abort();
  by("said").value = lanes[0].turns[place].words.textContent;
  lanes.forEach((lane) => lane.rewind(place));
  by("said").focus();
}

function working(now) {
  by("send").disabled = now;
  by("stop").disabled = !now;
}

async function ask(event) {
  event.preventDefault();
  const said = by("said").value.trim();
  if (!said || stopper) return;
  by("said").value = "";
  by("status").textContent = "Answering";
  const mine = stopper = new AbortController();
  working(true);
  lanes.forEach((lane) => lane.show("user", said));
  await Promise.all(lanes.map((lane) => lane.answer(mine.signal)));
  stopper = null;
  working(false);
  by("status").textContent = mine.signal.aborted ? "Stopped" : "Answered";
}

function open() {
  stopper?.abort();
  lanes.forEach((lane) => lane.spikes.close());
  by("lanes").replaceChildren();
  const names = [by("first").value, by("second").value].filter(Boolean);
  lanes = [...new Set(names)].map((name) => new Lane(students.find(({id}) => id === name)));
}

function choices(select, names) {
  select.replaceChildren(...names.map(([value, text]) => new Option(text, value)));
}

async function load() {
  const response = await fetch("v1/models", {headers: headers()});
  if (!response.ok) throw await failure(response);
  students = (await response.json()).data;
  const names = students.map(({id}) => [id, id]);
  choices(by("first"), names);
  choices(by("second"), [["", "nothing"], ...names]);
  by("beside").hidden = students.length < 2;
  for (const name of SLIDERS) {
    const most = students[0].asnn_goose.most_tokens;
    if (name === "max_tokens") by(name).max = Math.min(1024, most);
    by(name).dispatchEvent(new Event("input"));
  }
  by("status").textContent = "";
  open();
}

const tried = () => load().catch((error) => { by("status").textContent = error.message; });

for (const name of SLIDERS) {
  by(name).addEventListener("input", ({target}) => {
    document.querySelector(`output[for=${name}]`).textContent = target.value;
  });
}
by("ask").addEventListener("submit", ask);
by("stop").addEventListener("click", () => stopper?.abort());
by("anew").addEventListener("click", open);
by("first").addEventListener("change", open);
by("second").addEventListener("change", open);
by("key").addEventListener("change", tried);
by("said").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    by("ask").requestSubmit();
  }
});
tried();
